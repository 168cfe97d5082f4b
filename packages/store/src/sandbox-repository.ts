import { randomUUID } from "node:crypto";
import { isTerminal, type SandboxState, type WorkerState } from "@caisson/contract";
import type { Kysely, Selectable } from "kysely";
import { changed, changing, type ChangeValues } from "./change-sandbox.ts";
import { eventRow, type EventRepository, type NewEvent } from "./event-repository.ts";
import { endProcesses } from "./exec-log-repository.ts";
import type { Engine } from "./engine.ts";
import { decodeCursor, encodeCursor } from "./page-cursor.ts";
import { giveBack } from "./reserved-amounts.ts";
import { moveSandbox, type Moved, type MoveSandbox } from "./move-sandbox.ts";
import { findRepeated, reserveSandbox, type Idempotency, type Reservation, type ReserveSandbox } from "./reserve-sandbox.ts";
import { decodeSandbox, type Reason, type SandboxRecord } from "./sandbox-record.ts";
import type { SandboxTable, Tables } from "./tables.ts";
import { writeTogether } from "./write-together.ts";

/** Time as the store needs it: what every stored time is derived from. It is read inside the transaction that writes. */
export interface StoreClock {
  /** Wall-clock time in ms since the Unix epoch. */
  now(): number;
}

/** How long others leave alone what one has found to be due, in ms. */
const REAPING_MS = 5_000;

/** A change of state. */
export interface SandboxChange {
  readonly state: SandboxState;
  readonly reason: Reason | null;
  /** For transitional states: when they are forced to end, in ms from now. */
  readonly deadlineMs: number | null;
  /** Takes the right away from whoever holds the present epoch. */
  readonly fence: boolean;
  /** What the worker said of the box. */
  readonly box?: { readonly runtime: string | null; readonly imageDigest: string | null };
  readonly event: Pick<NewEvent, "type" | "data">;
}

/** Which sandboxes to list. */
export interface SandboxFilter {
  /** `live` for all that have not ended. */
  readonly states: readonly SandboxState[] | "live" | "all";
  readonly metadata: Readonly<Record<string, string>>;
  /** Only those of this worker. */
  readonly workerId?: string;
  readonly limit: number;
  readonly cursor?: string;
}

/** A sandbox together with the epoch under which its worker may still hold something of it. */
export interface LeasedSandbox {
  readonly sandbox: SandboxRecord;
  readonly epoch: number;
}

/** Sandboxes, their leases and idempotency keys. Every write names the version it read and tells whether it won. */
export class SandboxRepository {
  readonly #db: Kysely<Tables>;
  readonly #clock: StoreClock;
  readonly #events: EventRepository;
  readonly #engine: Pick<Engine, "atOnce" | "locks">;
  /** Tells what this process took from what others did. */
  readonly #self = randomUUID();

  constructor(db: Kysely<Tables>, clock: StoreClock, events: EventRepository, engine: Pick<Engine, "atOnce" | "locks">) {
    this.#db = db;
    this.#clock = clock;
    this.#events = events;
    this.#engine = engine;
  }

  /** Makes a sandbox in state `creating`, with its lease and key, if the limit and the key allow it. One transaction. */
  reserve(request: ReserveSandbox): Promise<Reservation> {
    return reserveSandbox(this.#db, request, { clock: this.#clock, events: this.#events, engine: this.#engine });
  }

  /** What an Idempotency-Key that was used before answers; undefined when it is new. */
  repeated(idempotency: Idempotency): Promise<Extract<Reservation, { kind: "repeated" | "key_conflict" }> | undefined> {
    return findRepeated(this.#db, idempotency, this.#clock.now());
  }

  /** One sandbox, ended or not. */
  async get(id: string): Promise<SandboxRecord | undefined> {
    const row = await this.#db.selectFrom("sandboxes").selectAll().where("id", "=", id).executeTakeFirst();
    return row === undefined ? undefined : decodeSandbox(row);
  }

  /** A page, newest first, and the cursor of the next one. */
  async list(filter: SandboxFilter): Promise<{ readonly items: readonly SandboxRecord[]; readonly nextCursor: string | null }> {
    let query = this.#db.selectFrom("sandboxes").selectAll();
    if (filter.states === "live") query = query.where("ended_at", "is", null);
    else if (filter.states !== "all") query = query.where("state", "in", [...filter.states]);
    if (filter.workerId !== undefined) query = query.where("worker_id", "=", filter.workerId);
    for (const [key, value] of Object.entries(filter.metadata)) {
      query = query.where((where) =>
        where.exists(
          where
            .selectFrom("sandbox_metadata")
            .select("sandbox_metadata.key")
            .whereRef("sandbox_metadata.sandbox_id", "=", "sandboxes.id")
            .where("sandbox_metadata.key", "=", key)
            .where("sandbox_metadata.value", "=", value),
        ),
      );
    }
    if (filter.cursor !== undefined) {
      const { createdAt, id } = decodeCursor(filter.cursor);
      // Compared as a pair, for which the index is entered where the page begins.
      query = query.where((where) => where(where.refTuple("created_at", "id"), "<", where.tuple(createdAt, id)));
    }
    const rows = await query
      .orderBy("created_at", "desc")
      .orderBy("id", "desc")
      .limit(filter.limit + 1)
      .execute();
    const items = rows.slice(0, filter.limit).map(decodeSandbox);
    const last = items.at(-1);
    return { items, nextCursor: rows.length > filter.limit && last !== undefined ? encodeCursor(last) : null };
  }

  /**
   * Writes a change if the sandbox still has this version: state, lease epoch and event in one transaction.
   * The new record, or undefined when somebody else was first. With `seen`, the record of that version, its row is not read back.
   */
  async apply(id: string, version: number, change: SandboxChange, seen?: SandboxRecord): Promise<SandboxRecord | undefined> {
    const ended = isTerminal(change.state);
    const event = { ...change.event, resourceId: id, sandboxId: id };
    const { atOnce } = this.#engine;
    if (atOnce !== undefined && !ended && !change.fence) {
      return atOnce(async (db) => {
        const now = this.#clock.now();
        const { shape, values, build } = changing(db, id, version, change, now);
        const inserts = [{ table: "events", rows: [eventRow(event, now)] }] as const;
        if (seen === undefined) {
          const whole = { shape: `${shape} whole`, values, build: (...given: ChangeValues) => build(...given).returningAll() };
          const row = await writeTogether(db, whole, inserts);
          return row === undefined ? undefined : decodeSandbox(row);
        }
        const written = await writeTogether(
          db,
          { shape, values, build: (...given: ChangeValues) => build(...given).returning("id") },
          inserts,
        );
        return written === undefined ? undefined : changed(seen, change, now);
      });
    }
    return this.#db.transaction().execute(async (trx) => {
      const now = this.#clock.now();
      const { build, values } = changing(trx, id, version, change, now);
      const row = await build(...values)
        .returningAll()
        .executeTakeFirst();
      if (row === undefined) return undefined;
      if (ended) await trx.deleteFrom("ports").where("sandbox_id", "=", id).execute();
      if (change.fence) await trx.updateTable("leases").set({ epoch: row.epoch }).where("sandbox_id", "=", id).execute();
      if (ended) await endProcesses(trx, id, now, this.#events);
      await this.#events.append(trx, now, event);
      return decodeSandbox(row);
    });
  }

  /** Sets the time to live from now, fenced like `apply`. */
  extend(id: string, version: number, ttlMs: number): Promise<SandboxRecord | undefined> {
    return this.#db.transaction().execute(async (trx) => {
      const now = this.#clock.now();
      const row = await trx
        .updateTable("sandboxes")
        .set((set) => ({ version: set("version", "+", 1), updated_at: now, expires_at: now + ttlMs }))
        .where("id", "=", id)
        .where("version", "=", version)
        .where("ended_at", "is", null)
        .returningAll()
        .executeTakeFirst();
      if (row === undefined) return undefined;
      const data = { expires_at: new Date(row.expires_at).toISOString() };
      await this.#events.append(trx, now, { type: "sandbox.extended", resourceId: id, sandboxId: id, data });
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

  /** Every sandbox of which this worker may hold something: all live ones, and ended ones not yet cleaned up. */
  async leased(workerId: string): Promise<readonly LeasedSandbox[]> {
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
  async ofWorkers(
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

  /** The lease of one sandbox. */
  async lease(id: string): Promise<{ readonly workerId: string; readonly epoch: number } | undefined> {
    const row = await this.#db.selectFrom("leases").selectAll().where("sandbox_id", "=", id).executeTakeFirst();
    return row === undefined ? undefined : { workerId: row.worker_id, epoch: row.epoch };
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
        .where("id", "in", this.#engine.locks.rows(due, "claim"))
        .returningAll()
        .execute();
    };
    // Two questions, each with its index: together they would be one about all that live.
    const rows = new Map([...(await claim("expires_at")), ...(await claim("deadline_at"))].map((row) => [row.id, row]));
    return [...rows.values()].slice(0, limit).map(decodeSandbox);
  }

  /** The next moment at which something becomes due; undefined when nothing will. */
  async nextDue(): Promise<number | undefined> {
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
  shiftDeadlines(deltaMs: number, adopt: () => void): Promise<void> {
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
