import { randomUUID } from "node:crypto";
import type { Kysely, Selectable } from "kysely";
import type { Locks } from "./locks.ts";
import { decodeSandbox, type SandboxRecord } from "./sandbox-record.ts";
import type { StoreClock } from "./store-clock.ts";
import type { SandboxTable, Tables } from "./tables.ts";

/** How long others leave alone what one has found to be due, in ms. */
const REAPING_MS = 5_000;

/** What is due: times to live and deadlines of states, and what becomes of all stored times when the clock is set. */
export class DeadlineRepository {
  readonly #db: Kysely<Tables>;
  readonly #clock: StoreClock;
  readonly #locks: Locks;
  /** Tells what this process took from what others did. */
  readonly #self = randomUUID();

  constructor(db: Kysely<Tables>, clock: StoreClock, locks: Locks) {
    this.#db = db;
    this.#clock = clock;
    this.#locks = locks;
  }

  /**
   * Live sandboxes whose time to live or whose state's deadline has passed. Others that ask get different ones, for as long as
   * it should take to end these; it is a division of work, and no right: what is written is fenced by version as ever.
   */
  async due(limit: number): Promise<readonly SandboxRecord[]> {
    const now = this.#clock.now();
    const claim = async (column: "expires_at" | "deadline_at"): Promise<readonly Selectable<SandboxTable>[]> => {
      const due = this.#db
        .selectFrom("sandboxes")
        .select("id")
        .where("ended_at", "is", null)
        .where(column, "<=", now)
        .where((where) =>
          where.or([
            where("reaper", "is", null),
            where("reaper", "=", this.#self),
            where("reaper_until", "<=", now),
            // The clock was set back since.
            where("reaper_until", ">", now + REAPING_MS),
          ]),
        )
        .orderBy(column)
        .limit(limit);
      return this.#db
        .updateTable("sandboxes")
        .set({ reaper: this.#self, reaper_until: now + REAPING_MS })
        .where("id", "in", this.#locks.rows(due, "claim"))
        .returningAll()
        .execute();
    };
    // Two questions, each with its index: together they would be one about all that live.
    const rows = new Map([...(await claim("expires_at")), ...(await claim("deadline_at"))].map((row) => [row.id, row]));
    return [...rows.values()].slice(0, limit).map(decodeSandbox);
  }

  /** The next moment at which something becomes due; undefined when nothing will. */
  async next(): Promise<number | undefined> {
    const live = this.#db.selectFrom("sandboxes").where("ended_at", "is", null);
    const expiry = await live.select((select) => select.fn.min<number | null>("expires_at").as("at")).executeTakeFirst();
    const deadline = await live
      .select((select) => select.fn.min<number | null>("deadline_at").as("at"))
      .where("deadline_at", "is not", null)
      .executeTakeFirst();
    const times = [expiry?.at, deadline?.at].filter((time) => typeof time === "number");
    return times.length === 0 ? undefined : Math.min(...times);
  }

  /**
   * Moves every pending deadline by `deltaMs`, because the wall clock was set forward or back by that much. `adopt` is
   * called inside the transaction, when the rows are written: from then on the store's clock must show the new time.
   * For a database of this process alone; the time of a shared one is not set by anybody.
   */
  shift(deltaMs: number, adopt: () => void): Promise<void> {
    return this.#db.transaction().execute(async (trx) => {
      await trx
        .updateTable("sandboxes")
        .set((set) => ({
          version: set("version", "+", 1),
          expires_at: set("expires_at", "+", deltaMs),
          deadline_at: set("deadline_at", "+", deltaMs),
          driver_until: set("driver_until", "+", deltaMs),
        }))
        .where("ended_at", "is", null)
        .execute();
      await trx
        .updateTable("workers")
        .set((set) => ({
          last_heartbeat_at: set("last_heartbeat_at", "+", deltaMs),
          reconciled_until: set("reconciled_until", "+", deltaMs),
        }))
        .execute();
      await trx
        .updateTable("control_planes")
        .set((set) => ({ last_seen_at: set("last_seen_at", "+", deltaMs) }))
        .execute();
      await trx
        .updateTable("idempotency_keys")
        .set((set) => ({ expires_at: set("expires_at", "+", deltaMs) }))
        .execute();
      await trx
        .updateTable("webhook_deliveries")
        .set((set) => ({ next_attempt_at: set("next_attempt_at", "+", deltaMs) }))
        .where("status", "=", "pending")
        .execute();
      await trx
        .updateTable("webhooks")
        .set((set) => ({ lease_until: set("lease_until", "+", deltaMs), old_secret_until: set("old_secret_until", "+", deltaMs) }))
        .execute();
      adopt();
    });
  }
}
