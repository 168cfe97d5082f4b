import type { Amounts, Resources } from "@caisson/contract";
import type { Kysely, Transaction, UpdateQueryBuilder, UpdateResult } from "kysely";
import { lockWorker } from "./lock-worker.ts";
import type { Tables } from "./tables.ts";

/** What a sandbox with these limits is promised. */
export function amountsOf({ vcpus = 0, memoryMb = 0, diskMb = 0 }: Resources): Amounts {
  return { vcpus, memory_mb: memoryMb, disk_mb: diskMb, sandboxes: 1 };
}

/**
 * Promises amounts of a worker, if it takes sandboxes and stays within the bounds (0 for none); whether it did. Without bounds
 * it is only counted. The row is locked from here to the end of the transaction.
 */
export async function promiseAmounts(
  trx: Transaction<Tables>,
  workerId: string,
  amounts: Amounts,
  bounds: Amounts | undefined,
): Promise<boolean> {
  const update = promising(trx, workerId, amounts, bounds === undefined ? undefined : roomFor(amounts, bounds));
  return (await update.executeTakeFirst()).numUpdatedRows > 0n || bounds === undefined;
}

/** The most that a worker may have promised before it promises these amounts too; absent for no bound. */
export function roomFor(amounts: Amounts, bounds: Amounts): Partial<Amounts> {
  return {
    ...(bounds.sandboxes > 0 ? { sandboxes: bounds.sandboxes - amounts.sandboxes } : {}),
    ...(bounds.memory_mb > 0 ? { memory_mb: bounds.memory_mb - amounts.memory_mb } : {}),
    ...(bounds.vcpus > 0 ? { vcpus: bounds.vcpus - amounts.vcpus + ROUNDING } : {}),
    ...(bounds.disk_mb > 0 ? { disk_mb: bounds.disk_mb - amounts.disk_mb } : {}),
  };
}

/** The statement of `promiseAmounts`. Without `room` it is not asked whether the worker takes sandboxes. */
export function promising(
  db: Kysely<Tables>,
  workerId: string,
  amounts: Amounts,
  room: Partial<Amounts> | undefined,
): UpdateQueryBuilder<Tables, "workers", "workers", UpdateResult> {
  let update = db
    .updateTable("workers")
    .set((set) => ({
      reserved_sandboxes: set("reserved_sandboxes", "+", amounts.sandboxes),
      reserved_memory_mb: set("reserved_memory_mb", "+", amounts.memory_mb),
      reserved_vcpus: set("reserved_vcpus", "+", amounts.vcpus),
      reserved_disk_mb: set("reserved_disk_mb", "+", amounts.disk_mb),
    }))
    .where("id", "=", workerId);
  if (room === undefined) return update;
  update = update.where("state", "=", "online").where("admin_drain", "=", 0).where("self_drain", "=", 0);
  if (room.sandboxes !== undefined) update = update.where("reserved_sandboxes", "<=", room.sandboxes);
  if (room.memory_mb !== undefined) update = update.where("reserved_memory_mb", "<=", room.memory_mb);
  if (room.vcpus !== undefined) update = update.where("reserved_vcpus", "<=", room.vcpus);
  if (room.disk_mb !== undefined) update = update.where("reserved_disk_mb", "<=", room.disk_mb);
  return update;
}

/** Cores are fractions, whose sums are not exact. */
const ROUNDING = 1e-6;

/** Gives back what a lease promised. */
export async function giveBack(trx: Transaction<Tables>, workerId: string, amounts: Amounts): Promise<void> {
  await trx
    .updateTable("workers")
    .set((set) => ({
      reserved_sandboxes: set("reserved_sandboxes", "-", amounts.sandboxes),
      reserved_memory_mb: set("reserved_memory_mb", "-", amounts.memory_mb),
      reserved_vcpus: set("reserved_vcpus", "-", amounts.vcpus),
      reserved_disk_mb: set("reserved_disk_mb", "-", amounts.disk_mb),
    }))
    .where("id", "=", workerId)
    .execute();
}

/** What the leases of a worker promise in all. */
export async function sumOfLeases(trx: Transaction<Tables>, workerId: string): Promise<Amounts> {
  const row = await trx
    .selectFrom("leases")
    .select((of) => [
      of.fn.countAll<number>().as("sandboxes"),
      of.fn.sum<number | null>("memory_mb").as("memory_mb"),
      of.fn.sum<number | null>("vcpus").as("vcpus"),
      of.fn.sum<number | null>("disk_mb").as("disk_mb"),
    ])
    .where("worker_id", "=", workerId)
    .executeTakeFirstOrThrow();
  return {
    sandboxes: Number(row.sandboxes),
    memory_mb: Number(row.memory_mb ?? 0),
    vcpus: Number(row.vcpus ?? 0),
    disk_mb: Number(row.disk_mb ?? 0),
  };
}

/** Sets the counters of a worker to the sum of its leases; whether they were wrong. */
export async function recountWorker(trx: Transaction<Tables>, workerId: string): Promise<boolean> {
  // Locks the row first: whoever makes or ends a lease changes it in the same transaction, so the sum is read when none is under way.
  const row = await lockWorker(trx, workerId);
  if (row === undefined) return false;
  const sum = await sumOfLeases(trx, workerId);
  const right =
    row.reserved_sandboxes === sum.sandboxes &&
    row.reserved_memory_mb === sum.memory_mb &&
    row.reserved_disk_mb === sum.disk_mb &&
    Math.abs(row.reserved_vcpus - sum.vcpus) < ROUNDING;
  if (right) return false;
  await trx
    .updateTable("workers")
    .set({
      reserved_sandboxes: sum.sandboxes,
      reserved_memory_mb: sum.memory_mb,
      reserved_vcpus: sum.vcpus,
      reserved_disk_mb: sum.disk_mb,
    })
    .where("id", "=", workerId)
    .execute();
  return true;
}
