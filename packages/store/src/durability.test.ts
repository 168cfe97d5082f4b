import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { openSqlite } from "./open-sqlite.ts";

const CHILD = fileURLToPath(new URL("write-until-killed.ts", import.meta.url));

/** Lets a child write until it has acknowledged `count`, kills it at once, and returns all that it acknowledged. */
async function writeAndKill(path: string, prefix: string, count: number): Promise<string[]> {
  const child = spawn(process.execPath, ["--conditions=@caisson/source", "--disable-warning=ExperimentalWarning", CHILD, path, prefix], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exited = once(child, "exit");
  const acknowledged: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    acknowledged.push(line);
    if (acknowledged.length === count) child.kill("SIGKILL");
  }
  await exited;
  expect(child.signalCode).toBe("SIGKILL");
  return acknowledged;
}

it("keeps every acknowledged write when the process is killed, and no half of one", async () => {
  const folder = await mkdtemp(join(tmpdir(), "caisson-store-"));
  try {
    const path = join(folder, "caisson.db");
    const acknowledged: string[] = [];
    for (const [round, count] of [3, 40, 11, 90].entries()) {
      acknowledged.push(...(await writeAndKill(path, `sb${round}`, count)));
      await using store = await openSqlite({ path, clock: Date });
      for (const id of acknowledged) expect(await store.sandboxes.get(id)).toMatchObject({ id, state: "running", version: 2 });
      // Whole transactions only: each sandbox has its lease, and as many events as it has versions.
      const { items } = await store.sandboxes.list({ states: "all", metadata: {}, limit: 10_000 });
      expect(items.length).toBeGreaterThanOrEqual(acknowledged.length);
      expect((await store.leases.ofWorker("local")).length).toBe(items.length);
      const events = await store.events.after(0, 100_000);
      expect(events.length).toBe(items.reduce((sum, item) => sum + item.version, 0));
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});
