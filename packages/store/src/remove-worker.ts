import type { SandboxState } from "@caisson/contract";
import type { Transaction } from "kysely";
import type { EventRepository } from "./event-repository.ts";
import type { Tables } from "./tables.ts";
import { decodeWorker, type WorkerRecord } from "./worker-record.ts";

/** What became of a removal. */
export type Removal =
  | { readonly kind: "removed"; readonly worker: WorkerRecord }
  /** It has sandboxes that have not ended: the first ids of them, and how many there are. */
  | { readonly kind: "in_use"; readonly sandboxIds: readonly string[]; readonly count: number }
  | { readonly kind: "unknown" };

/** Ids that are told. */
const MOST_TOLD = 1_000;
const ENDED: readonly SandboxState[] = ["error", "stopped", "expired", "destroyed"];

/** Removes a worker that has no live sandbox, in the transaction given. Its row is locked first: none is put on it meanwhile. */
export async function removeWorker(trx: Transaction<Tables>, id: string, now: number, events: EventRepository): Promise<Removal> {
  const row = await trx
    .updateTable("workers")
    .set((set) => ({ version: set("version", "+", 1) }))
    .where("id", "=", id)
    .returningAll()
    .executeTakeFirst();
  if (row === undefined) return { kind: "unknown" };
  if (row.state === "removed") return { kind: "removed", worker: decodeWorker(row) };
  const live = trx
    .selectFrom("leases")
    .innerJoin("sandboxes", "sandboxes.id", "leases.sandbox_id")
    .where("leases.worker_id", "=", id)
    .where("sandboxes.state", "not in", [...ENDED]);
  const { count } = await live.select((of) => of.fn.countAll<number>().as("count")).executeTakeFirstOrThrow();
  if (Number(count) > 0) {
    const ids = await live.select("sandboxes.id").orderBy("sandboxes.id").limit(MOST_TOLD).execute();
    return { kind: "in_use", sandboxIds: ids.map((one) => one.id), count: Number(count) };
  }
  const removed = await trx
    .updateTable("workers")
    .set({ state: "removed", reconciled_by: null, reconciled_until: null, updated_at: now })
    .where("id", "=", id)
    .returningAll()
    .executeTakeFirstOrThrow();
  await events.append(trx, now, { type: "worker.removed", resourceId: id, sandboxId: null, data: { from: row.state } });
  return { kind: "removed", worker: decodeWorker(removed) };
}
