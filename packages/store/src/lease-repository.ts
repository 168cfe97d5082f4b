import type { SandboxState, WorkerState } from "@caisson/contract";
import type { Kysely } from "kysely";
import type { EventRepository } from "./event-repository.ts";
import { giveBack } from "./reserved-amounts.ts";
import { decodeSandbox, type SandboxRecord } from "./sandbox-record.ts";
import type { StoreClock } from "./store-clock.ts";
import type { Tables } from "./tables.ts";

/** A sandbox together with the epoch under which its worker may still hold something of it. */
export interface LeasedSandbox {
  readonly sandbox: SandboxRecord;
  readonly epoch: number;
}

/** Which worker may hold something of which sandbox. A lease comes with its sandbox, follows its epoch, and ends here. */
export class LeaseRepository {
  readonly #db: Kysely<Tables>;
  readonly #clock: StoreClock;
  readonly #events: EventRepository;

  constructor(db: Kysely<Tables>, clock: StoreClock, events: EventRepository) {
    this.#db = db;
    this.#clock = clock;
    this.#events = events;
  }

  /** The lease of one sandbox; undefined when it has none. */
  async get(id: string): Promise<{ readonly workerId: string; readonly epoch: number } | undefined> {
    const row = await this.#db.selectFrom("leases").selectAll().where("sandbox_id", "=", id).executeTakeFirst();
    return row === undefined ? undefined : { workerId: row.worker_id, epoch: row.epoch };
  }

  /** Every sandbox of which this worker may hold something: all live ones, and ended ones not yet cleaned up. */
  async ofWorker(workerId: string): Promise<readonly LeasedSandbox[]> {
    const rows = await this.#db
      .selectFrom("leases")
      .innerJoin("sandboxes", "sandboxes.id", "leases.sandbox_id")
      .selectAll("sandboxes")
      .select("leases.epoch as lease_epoch")
      .where("leases.worker_id", "=", workerId)
      .orderBy("leases.sandbox_id")
      .execute();
    return rows.map((row) => ({ sandbox: decodeSandbox(row), epoch: row.lease_epoch }));
  }

  /** Sandboxes in some states whose lease one of these workers has. */
  async sandboxesOf(
    workers: { readonly ids: readonly string[] } | { readonly states: readonly WorkerState[] },
    states: readonly SandboxState[],
    limit: number,
  ): Promise<readonly SandboxRecord[]> {
    const query = this.#db
      .selectFrom("leases")
      .innerJoin("sandboxes", "sandboxes.id", "leases.sandbox_id")
      .selectAll("sandboxes")
      .where("sandboxes.state", "in", [...states])
      .orderBy("sandboxes.id")
      .limit(limit);
    const rows = await query
      .where((where) =>
        "ids" in workers
          ? where("leases.worker_id", "in", [...workers.ids])
          : where(
              "leases.worker_id",
              "in",
              where
                .selectFrom("workers")
                .select("workers.id")
                .where("workers.state", "in", [...workers.states]),
            ),
      )
      .execute();
    return rows.map(decodeSandbox);
  }

  /** Ends a lease after its worker confirmed that nothing is left; whether it was still there with this epoch. */
  release(id: string, epoch: number): Promise<boolean> {
    return this.#db.transaction().execute(async (trx) => {
      const lease = await trx
        .deleteFrom("leases")
        .where("sandbox_id", "=", id)
        .where("epoch", "=", epoch)
        .returning(["worker_id", "memory_mb", "vcpus", "disk_mb"])
        .executeTakeFirst();
      if (lease === undefined) return false;
      await giveBack(trx, lease.worker_id, { ...lease, sandboxes: 1 });
      await this.#events.append(trx, this.#clock.now(), { type: "sandbox.released", resourceId: id, sandboxId: id, data: { epoch } });
      return true;
    });
  }
}
