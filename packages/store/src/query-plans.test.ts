import { DatabaseSync } from "node:sqlite";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { openSqlite } from "./open-sqlite.ts";

/** What is asked all the time, and the index that keeps its cost from growing with the number of sandboxes. */
const PLANS: readonly (readonly [question: string, index: string])[] = [
  ["select * from sandboxes where ended_at is null order by created_at desc, id desc limit 101", "sandboxes_live_created"],
  [
    "select * from sandboxes where ended_at is null and (created_at, id) < (5, 'x') order by created_at desc, id desc limit 101",
    "sandboxes_live_created ((created_at,id)<(?,?))",
  ],
  [
    "select * from sandboxes where ended_at is null and exists (select 1 from sandbox_metadata where sandbox_id = sandboxes.id and key = 'k' and value = 'v') order by created_at desc, id desc limit 101",
    "sandboxes_live_created",
  ],
  ["select * from sandboxes where ended_at is null and worker_id = 'w' order by created_at desc, id desc limit 101", "sandboxes_worker"],
  ["select * from sandboxes where ended_at is null and expires_at <= 5 order by expires_at limit 100", "sandboxes_live (expires_at<?)"],
  [
    "select * from sandboxes where ended_at is null and deadline_at <= 5 order by deadline_at limit 100",
    "sandboxes_deadline (deadline_at<?)",
  ],
  ["select min(expires_at) from sandboxes where ended_at is null", "sandboxes_live"],
  [
    "select * from sandboxes where driver_until is not null and driver_until <= 5 order by driver_until limit 9",
    "sandboxes_driver (driver_until",
  ],
  ["select id from sandboxes where ended_at <= 5 order by ended_at limit 500", "sandboxes_ended (ended_at<?)"],
  ["select * from leases where worker_id = 'w'", "leases_worker (worker_id=?)"],
];

it("finds what it asks for by an index, and sorts nothing", async () => {
  const folder = await mkdtemp(join(tmpdir(), "caisson-plans-"));
  try {
    const path = join(folder, "caisson.db");
    await (await openSqlite({ path, clock: Date })).close();
    const database = new DatabaseSync(path, { readOnly: true });
    for (const [question, index] of PLANS) {
      const plan = database
        .prepare(`explain query plan ${question}`)
        .all()
        .map(({ detail }) => String(detail))
        .join(", ");
      const sorts = plan.includes("TEMP B-TREE");
      expect({ question, plan, sorts }).toEqual({ question, plan: expect.stringContaining(index), sorts: false });
    }
    database.close();
  } finally {
    await rm(folder, { recursive: true });
  }
});
