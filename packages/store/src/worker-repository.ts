import type { WorkerState } from "@caisson/contract";
import type { Kysely } from "kysely";
import type { StoreClock } from "./sandbox-repository.ts";
import type { Tables } from "./tables.ts";
import { decodeWorker, encodeWorker, newWorker, type WorkerRecord } from "./worker-record.ts";

/** Workers that were added or heard of. */
export class WorkerRepository {
  readonly #db: Kysely<Tables>;
  readonly #clock: StoreClock;

  constructor(db: Kysely<Tables>, clock: StoreClock) {
    this.#db = db;
    this.#clock = clock;
  }

  /** Writes whether a worker answers, and when it last did. */
  async remember(id: string, state: WorkerState, lastHeartbeatAt: number): Promise<void> {
    const now = this.#clock.now();
    await this.#db
      .insertInto("workers")
      .values({ ...encodeWorker(newWorker(id, now)), state, last_heartbeat_at: lastHeartbeatAt })
      .onConflict((conflict) => conflict.column("id").doUpdateSet({ state, last_heartbeat_at: lastHeartbeatAt, updated_at: now }))
      .execute();
  }

  /** How many workers are in each state but `removed`. */
  async count(): Promise<Record<Exclude<WorkerState, "removed">, number>> {
    const rows = await this.#db
      .selectFrom("workers")
      .select(["state", (select) => select.fn.countAll<number>().as("workers")])
      .groupBy("state")
      .execute();
    const of = (state: WorkerState): number => Number(rows.find((row) => row.state === state)?.workers ?? 0);
    return { pending: of("pending"), online: of("online"), draining: of("draining"), unreachable: of("unreachable") };
  }

  /** One worker; undefined when it never was. */
  async get(id: string): Promise<WorkerRecord | undefined> {
    const row = await this.#db.selectFrom("workers").selectAll().where("id", "=", id).executeTakeFirst();
    return row === undefined ? undefined : decodeWorker(row);
  }

  /** All workers ever seen, by id. */
  async list(): Promise<readonly WorkerRecord[]> {
    const rows = await this.#db.selectFrom("workers").selectAll().orderBy("id").execute();
    return rows.map(decodeWorker);
  }
}
