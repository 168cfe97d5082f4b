// Child of durability.test.ts: writes sandboxes without end and prints the id of each one that was acknowledged.
import { writeSync } from "node:fs";
import process from "node:process";
import { openSqlite } from "./open-sqlite.ts";
import { reserveRequest } from "./testing/reserve-request.ts";

const [path = "", prefix = ""] = process.argv.slice(2);
const store = await openSqlite({ path, clock: Date });

async function writer(name: string): Promise<never> {
  for (let i = 0; ; i += 1) {
    const id = `${prefix}-${name}-${i}`;
    await store.sandboxes.reserve(reserveRequest(id, { metadata: { name } }));
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
