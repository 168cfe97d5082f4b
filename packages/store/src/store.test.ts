import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { openSqlite } from "./open-sqlite.ts";
import { describeStore, type StoreDescriptor } from "./store-suite.ts";
import { describeWorkers } from "./worker-suite.ts";

const inMemory: StoreDescriptor = {
  name: "SQLite in memory",
  ownTime: true,
  open: (clock) => openSqlite({ path: ":memory:", clock }),
  remove: () => Promise.resolve(),
};
describeStore(inMemory);
describeWorkers(inMemory);

let folder = "";
describeStore({
  name: "SQLite in a file",
  ownTime: true,
  open: async (clock) => {
    folder = await mkdtemp(join(tmpdir(), "caisson-store-"));
    return openSqlite({ path: join(folder, "new", "caisson.db"), clock });
  },
  remove: () => rm(folder, { recursive: true }),
});

it("opens a database again with what was in it, readable by its owner only", async () => {
  const path = await mkdtemp(join(tmpdir(), "caisson-store-"));
  try {
    const file = join(path, "caisson.db");
    await using first = await openSqlite({ path: file, clock: Date });
    await first.workers.add("local", { tenantId: null });
    await first.close();
    await using second = await openSqlite({ path: file, clock: Date });
    expect(await second.workers.list()).toHaveLength(1);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect((await stat(`${file}-wal`)).mode & 0o777).toBe(0o600);
  } finally {
    await rm(path, { recursive: true });
  }
});
