import type { Selectable, Transaction } from "kysely";
import type { Tables, WorkerTable } from "./tables.ts";

/** What is looked at while a worker's row is locked. */
const COLUMNS = [
  "state",
  "credential",
  "revoked_before",
  "reserved_sandboxes",
  "reserved_memory_mb",
  "reserved_vcpus",
  "reserved_disk_mb",
] as const;

/** A worker whose row is locked. */
export type LockedWorker = Pick<Selectable<WorkerTable>, (typeof COLUMNS)[number]>;

/** Takes the lock of a worker's row until the transaction ends: writing nothing does that on every database. */
export function lockWorker(trx: Transaction<Tables>, id: string): Promise<LockedWorker | undefined> {
  return trx
    .updateTable("workers")
    .set((set) => ({ version: set.ref("version") }))
    .where("id", "=", id)
    .returning(COLUMNS)
    .executeTakeFirst();
}
