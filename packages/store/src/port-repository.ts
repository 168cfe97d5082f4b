import type { Kysely } from "kysely";
import type { EventRepository } from "./event-repository.ts";
import type { StoreClock } from "./store-clock.ts";
import type { Tables } from "./tables.ts";

/** A port whose visibility was set. */
export interface PortRecord {
  readonly port: number;
  /** Whether its preview needs no key and no token. */
  readonly public: boolean;
}

/** Visibility of ports. What is not here is private. The end of a sandbox removes what is here of it. */
export class PortRepository {
  readonly #db: Kysely<Tables>;
  readonly #clock: StoreClock;
  readonly #events: EventRepository;

  constructor(db: Kysely<Tables>, clock: StoreClock, events: EventRepository) {
    this.#db = db;
    this.#clock = clock;
    this.#events = events;
  }

  /** Ports of a sandbox, by number. */
  async list(sandboxId: string): Promise<readonly PortRecord[]> {
    return (await this.#db.selectFrom("ports").selectAll().where("sandbox_id", "=", sandboxId).orderBy("port").execute()).map(decode);
  }

  /** One port. */
  async get(sandboxId: string, port: number): Promise<PortRecord | undefined> {
    const row = await this.#db
      .selectFrom("ports")
      .selectAll()
      .where("sandbox_id", "=", sandboxId)
      .where("port", "=", port)
      .executeTakeFirst();
    return row === undefined ? undefined : decode(row);
  }

  /** Sets the visibility of a port; false when there is no such sandbox, or it has ended. */
  put(sandboxId: string, record: PortRecord): Promise<boolean> {
    return this.#db.transaction().execute(async (trx) => {
      // A write, so that the end of the sandbox comes wholly before or wholly after.
      const live = await trx
        .updateTable("sandboxes")
        .set((set) => ({ version: set.ref("version") }))
        .where("id", "=", sandboxId)
        .where("ended_at", "is", null)
        .executeTakeFirst();
      if (live.numUpdatedRows === 0n) return false;
      const now = this.#clock.now();
      const values = { public: record.public ? 1 : 0, updated_at: now };
      await trx
        .insertInto("ports")
        .values({ sandbox_id: sandboxId, port: record.port, ...values })
        .onConflict((conflict) => conflict.columns(["sandbox_id", "port"]).doUpdateSet(values))
        .execute();
      const data = { public: record.public };
      await this.#events.append(trx, now, { type: "port.published", resourceId: String(record.port), sandboxId, data });
      return true;
    });
  }

  /** Forgets a port; whether it was there. */
  remove(sandboxId: string, port: number): Promise<boolean> {
    return this.#db.transaction().execute(async (trx) => {
      const result = await trx.deleteFrom("ports").where("sandbox_id", "=", sandboxId).where("port", "=", port).executeTakeFirst();
      if (result.numDeletedRows === 0n) return false;
      await this.#events.append(trx, this.#clock.now(), { type: "port.unpublished", resourceId: String(port), sandboxId, data: {} });
      return true;
    });
  }
}

function decode(row: Tables["ports"]): PortRecord {
  return { port: row.port, public: row.public === 1 };
}
