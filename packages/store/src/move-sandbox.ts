import type { Amounts } from "@caisson/contract";
import type { Transaction } from "kysely";
import type { EventRepository } from "./event-repository.ts";
import { amountsOf, giveBack, promiseAmounts } from "./reserved-amounts.ts";
import { decodeSandbox, encodeSpec, type PlacementRecord, type SandboxRecord, type SandboxSpec } from "./sandbox-record.ts";
import type { Tables } from "./tables.ts";

/** Where a creation goes on. */
export interface MoveSandbox {
  readonly workerId: string;
  readonly spec: SandboxSpec;
  readonly placement: PlacementRecord;
  readonly previewDomain: string | null;
  /** Most that the worker may have promised with this one. */
  readonly bounds: Amounts;
  /** Who drives it; nobody else may move it. */
  readonly driver: string;
}

/** What became of a move. */
export type Moved =
  | { readonly kind: "moved"; readonly sandbox: SandboxRecord }
  /** Somebody else changed or drives it. */
  | { readonly kind: "lost" }
  /** The worker has no room, or takes no sandboxes. */
  | { readonly kind: "worker_full" };

/** Moves a creation, its lease and its promise to another worker under a higher epoch: all or nothing, in the transaction given. */
export async function moveSandbox(
  trx: Transaction<Tables>,
  seen: SandboxRecord,
  move: MoveSandbox,
  now: number,
  events: EventRepository,
): Promise<Moved> {
  const amounts = amountsOf(move.spec.resources);
  const row = await trx
    .updateTable("sandboxes")
    .set((set) => ({
      version: set("version", "+", 1),
      epoch: set("epoch", "+", 1),
      worker_id: move.workerId,
      spec: encodeSpec(move.spec),
      placement: JSON.stringify(move.placement),
      preview_domain: move.previewDomain,
      updated_at: now,
    }))
    .where("id", "=", seen.id)
    .where("version", "=", seen.version)
    .where("state", "=", "creating")
    .where("driver", "=", move.driver)
    .where("driver_until", ">", now)
    .returningAll()
    .executeTakeFirst();
  if (row === undefined) return { kind: "lost" };
  const before = await trx.selectFrom("leases").selectAll().where("sandbox_id", "=", seen.id).executeTakeFirstOrThrow();
  const back = { ...before, sandboxes: 1 };
  // In the order of ids, so that two moves the other way round never wait for each other.
  if (before.worker_id < move.workerId) await giveBack(trx, before.worker_id, back);
  if (!(await promiseAmounts(trx, move.workerId, amounts, move.bounds))) return { kind: "worker_full" };
  if (before.worker_id >= move.workerId) await giveBack(trx, before.worker_id, back);
  const { sandboxes: _, ...promised } = amounts;
  await trx
    .updateTable("leases")
    .set({ worker_id: move.workerId, epoch: row.epoch, acquired_at: now, ...promised })
    .where("sandbox_id", "=", seen.id)
    .execute();
  const data = { from: seen.workerId, worker_id: move.workerId, epoch: row.epoch, placement: move.placement.placement };
  await events.append(trx, now, { type: "sandbox.placed", resourceId: seen.id, sandboxId: seen.id, data });
  return { kind: "moved", sandbox: decodeSandbox(row) };
}
