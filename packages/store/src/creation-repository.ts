import type { Kysely } from "kysely";
import type { EventRepository } from "./event-repository.ts";
import { moveSandbox, type Moved, type MoveSandbox } from "./move-sandbox.ts";
import { decodeSandbox, type SandboxRecord } from "./sandbox-record.ts";
import type { StoreClock } from "./store-clock.ts";
import type { Tables } from "./tables.ts";

/** Creations that are under way: who drives each, and the moves and epochs that only its driver may give it. */
export class CreationRepository {
  readonly #db: Kysely<Tables>;
  readonly #clock: StoreClock;
  readonly #events: EventRepository;

  constructor(db: Kysely<Tables>, clock: StoreClock, events: EventRepository) {
    this.#db = db;
    this.#clock = clock;
    this.#events = events;
  }

  /** Takes, or keeps, the right to drive a creation for `ms`; undefined when it is no creation any more or somebody else's. */
  async drive(id: string, driver: string, ms: number): Promise<SandboxRecord | undefined> {
    const now = this.#clock.now();
    const row = await this.#db
      .updateTable("sandboxes")
      .set({ driver, driver_until: now + ms })
      .where("id", "=", id)
      .where("state", "=", "creating")
      .where((where) => where.or([where("driver", "is", null), where("driver", "=", driver), where("driver_until", "<=", now)]))
      .returningAll()
      .executeTakeFirst();
    return row === undefined ? undefined : decodeSandbox(row);
  }

  /** Keeps the right to drive a creation for `ms`; undefined when somebody else took it, ever, or it is no creation any more. */
  async driveOn(id: string, driver: string, ms: number): Promise<SandboxRecord | undefined> {
    const row = await this.#db
      .updateTable("sandboxes")
      .set({ driver_until: this.#clock.now() + ms })
      .where("id", "=", id)
      .where("state", "=", "creating")
      .where("driver", "=", driver)
      .returningAll()
      .executeTakeFirst();
    return row === undefined ? undefined : decodeSandbox(row);
  }

  /** Creations whose driver has not said for too long that it goes on. */
  async undriven(limit: number): Promise<readonly SandboxRecord[]> {
    const rows = await this.#db
      .selectFrom("sandboxes")
      .selectAll()
      .where("driver_until", "is not", null)
      .where("driver_until", "<=", this.#clock.now())
      .orderBy("driver_until")
      .limit(limit)
      .execute();
    return rows.map(decodeSandbox);
  }

  /**
   * Raises the epoch of a creation and its lease by two, before its driver has its worker destroy by the epoch between: that
   * `destroy` may come at any time later, and then is below all that whoever drives the creation starts from now on. The new
   * record, with `ms` more to drive it; undefined when it has another epoch, is somebody else's, or is no creation any more.
   */
  raise(seen: Pick<SandboxRecord, "id" | "epoch">, driver: string, ms: number): Promise<SandboxRecord | undefined> {
    return this.#db.transaction().execute(async (trx) => {
      const now = this.#clock.now();
      const row = await trx
        .updateTable("sandboxes")
        .set((set) => ({ version: set("version", "+", 1), epoch: set("epoch", "+", 2), driver_until: now + ms, updated_at: now }))
        .where("id", "=", seen.id)
        .where("epoch", "=", seen.epoch)
        .where("state", "=", "creating")
        .where("driver", "=", driver)
        .returningAll()
        .executeTakeFirst();
      if (row === undefined) return undefined;
      await trx.updateTable("leases").set({ epoch: row.epoch }).where("sandbox_id", "=", seen.id).execute();
      return decodeSandbox(row);
    });
  }

  /** Moves a creation to another worker, under a higher epoch, if it is as it was seen and the caller drives it. One transaction. */
  async move(seen: SandboxRecord, move: MoveSandbox): Promise<Moved> {
    const rollback = new Error("rolled back");
    let full = false;
    try {
      return await this.#db.transaction().execute(async (trx) => {
        const moved = await moveSandbox(trx, seen, move, this.#clock.now(), this.#events);
        full = moved.kind === "worker_full";
        if (full) throw rollback;
        return moved;
      });
    } catch (error) {
      if (full && error === rollback) return { kind: "worker_full" };
      throw error;
    }
  }
}
