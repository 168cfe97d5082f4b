// Child of durability.test.ts: writes sandboxes without end and prints the id of each one that was acknowledged.
import { writeSync } from "node:fs";
import process from "node:process";
import { openSqlite } from "./open-sqlite.ts";

const [path = "", prefix = ""] = process.argv.slice(2);
const store = await openSqlite({ path, clock: Date });

async function writer(name: string): Promise<never> {
  for (let i = 0; ; i += 1) {
    const id = `${prefix}-${name}-${i}`;
    await store.sandboxes.reserve({
      id,
      workerId: "local",
      ownerId: null,
      tenantId: null,
      placement: null,
      spec: { provider: "oci", image: "host", resources: {}, network: "none" },
      env: {},
      metadata: { name },
      previewDomain: null,
      ttlMs: 60_000,
      deadlineMs: 10_000,
      maxLive: 0,
    });
    await store.sandboxes.apply(id, 1, {
      state: "running",
      reason: null,
      deadlineMs: null,
      fence: false,
      event: { type: "sandbox.running", data: {} },
    });
    writeSync(1, `${id}\n`);
  }
}

await Promise.all([writer("a"), writer("b")]);
