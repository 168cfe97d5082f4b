import type { Amounts, ControlLossPolicy, EventType, ProviderReport, WorkerCredential, WorkerState } from "@caisson/contract";
import type { Kysely, Selectable, Transaction } from "kysely";
import type { EventRepository } from "./event-repository.ts";
import { removeWorker, type Removal } from "./remove-worker.ts";
import { recountWorker, sumOfLeases } from "./reserved-amounts.ts";
import type { StoreClock } from "./store-clock.ts";
import type { Tables, WorkerTable } from "./tables.ts";
import { decodeWorker, encodeWorker, newWorker, type WorkerRecord } from "./worker-record.ts";

/** What a heartbeat writes. */
export interface WorkerBeat {
  readonly session: string;
  readonly sequence: number;
  readonly credential: WorkerCredential;
  readonly build: string;
  readonly selfDrain: boolean;
  readonly labels: Readonly<Record<string, string>>;
  readonly capacity: Amounts;
  readonly used: Amounts;
  /** Absent: the providers are as the digest in the row says. */
  readonly providers?: { readonly digest: string; readonly reports: readonly ProviderReport[] };
  readonly images: readonly string[];
  readonly previewDomain: string | null;
  readonly previewUrl: string | null;
  readonly publicUrl: string | null;
  readonly advertiseAddr: string | null;
  readonly onControlLoss: ControlLossPolicy;
}

/** What a heartbeat finds in the row it wrote. */
export interface BeatenWorker {
  readonly state: WorkerState;
  readonly version: number;
  readonly adminDrain: boolean;
  readonly providersDigest: string | null;
}

/** A change of a worker that is no heartbeat. */
export interface WorkerChange {
  readonly state?: WorkerState;
  readonly adminDrain?: boolean;
  /** Holds only while nothing was heard of it for this long, in ms. */
  readonly silentMs?: number;
  readonly event?: { readonly type: EventType; readonly data: Readonly<Record<string, unknown>> };
}

/** Which workers to list. */
export interface WorkerFilter {
  readonly states?: readonly WorkerState[];
  /** Ids after this one. */
  readonly after?: string;
  readonly limit?: number;
}

/** Workers that were added or heard of. Heartbeats are one write of one row; all else is fenced by the version that was read. */
export class WorkerRepository {
  readonly #db: Kysely<Tables>;
  readonly #clock: StoreClock;
  readonly #events: EventRepository;

  constructor(db: Kysely<Tables>, clock: StoreClock, events: EventRepository) {
    this.#db = db;
    this.#clock = clock;
    this.#events = events;
  }

  /** Makes a worker of which nothing is known but its name, or takes one back that was removed. Others stay as they are. */
  add(id: string, given: { readonly tenantId: string | null }): Promise<WorkerRecord> {
    return this.#db.transaction().execute(async (trx) => {
      const now = this.#clock.now();
      const fresh = { ...newWorker(id, now), tenantId: given.tenantId, reserved: await sumOfLeases(trx, id) };
      const inserted = await trx
        .insertInto("workers")
        .values(encodeWorker(fresh))
        .onConflict((conflict) => conflict.column("id").doNothing())
        .returningAll()
        .executeTakeFirst();
      const row = inserted ?? (await this.#takeBack(trx, id, given.tenantId, now));
      if (row !== undefined) {
        await this.#events.append(trx, now, { type: "worker.added", resourceId: id, sandboxId: null, data: { tenant_id: given.tenantId } });
        return decodeWorker(row);
      }
      return decodeWorker(await trx.selectFrom("workers").selectAll().where("id", "=", id).executeTakeFirstOrThrow());
    });
  }

  /** One worker, removed or not. */
  async get(id: string): Promise<WorkerRecord | undefined> {
    const row = await this.#db.selectFrom("workers").selectAll().where("id", "=", id).executeTakeFirst();
    return row === undefined ? undefined : decodeWorker(row);
  }

  /** By id; all but removed ones when no state is named. */
  async list({ states, after, limit }: WorkerFilter = {}): Promise<readonly WorkerRecord[]> {
    let query = this.#db.selectFrom("workers").selectAll().orderBy("id");
    query = states === undefined ? query.where("state", "!=", "removed") : query.where("state", "in", [...states]);
    if (after !== undefined) query = query.where("id", ">", after);
    if (limit !== undefined) query = query.limit(limit);
    return (await query.execute()).map(decodeWorker);
  }

  /** Ids of workers in these states. */
  async ids(states: readonly WorkerState[]): Promise<readonly string[]> {
    const rows = await this.#db
      .selectFrom("workers")
      .select("id")
      .where("state", "in", [...states])
      .execute();
    return rows.map(({ id }) => id);
  }

  /** Where workers can be dialled that said so: heard of, and not removed. */
  async addresses(): Promise<readonly { readonly workerId: string; readonly address: string }[]> {
    const rows = await this.#db
      .selectFrom("workers")
      .select(["id", "advertise_addr"])
      .where("state", "!=", "removed")
      .where("advertise_addr", "is not", null)
      .where("last_heartbeat_at", "is not", null)
      .orderBy("id")
      .execute();
    return rows.flatMap(({ id, advertise_addr: address }) => (address === null ? [] : [{ workerId: id, address }]));
  }

  /**
   * Writes a heartbeat: one UPDATE of one row. Undefined when the row did not take it: there is none, the worker was removed, the
   * heartbeat is not newer than the last of its session, or it is of the run before, while the present one was heard within
   * `silentMs`. When it is silent, the run before is the one that lives: the other was heard by what came late of it.
   */
  async beat(id: string, beat: WorkerBeat, silentMs: number): Promise<BeatenWorker | undefined> {
    const now = this.#clock.now();
    const row = await this.#db
      .updateTable("workers")
      .set((set) => ({
        previous_session: set.case().when("session", "=", beat.session).then(set.ref("previous_session")).else(set.ref("session")).end(),
        session: beat.session,
        sequence: beat.sequence,
        credential: beat.credential,
        build: beat.build,
        self_drain: beat.selfDrain ? 1 : 0,
        labels: JSON.stringify(beat.labels),
        capacity: JSON.stringify(beat.capacity),
        used: JSON.stringify(beat.used),
        images: JSON.stringify(beat.images),
        ...(beat.providers === undefined
          ? {}
          : { providers_digest: beat.providers.digest, providers: JSON.stringify(beat.providers.reports) }),
        preview_domain: beat.previewDomain,
        preview_url: beat.previewUrl,
        public_url: beat.publicUrl,
        advertise_addr: beat.advertiseAddr,
        on_control_loss: beat.onControlLoss,
        last_heartbeat_at: now,
        updated_at: now,
      }))
      .where("id", "=", id)
      .where("state", "!=", "removed")
      .where((where) =>
        where.or([
          where("session", "is", null),
          where.and([where("session", "=", beat.session), where("sequence", "<", beat.sequence)]),
          where.and([
            where("session", "!=", beat.session),
            where.or([
              where("previous_session", "is", null),
              where("previous_session", "!=", beat.session),
              where("last_heartbeat_at", "<", now - silentMs),
            ]),
          ]),
        ]),
      )
      .returning(["state", "version", "admin_drain", "providers_digest"])
      .executeTakeFirst();
    if (row === undefined) return undefined;
    return {
      state: row.state as WorkerState,
      version: row.version,
      adminDrain: row.admin_drain === 1,
      providersDigest: row.providers_digest,
    };
  }

  /** Writes a change if the worker still has this version, with its event. Undefined when somebody else was first. */
  change(id: string, version: number, change: WorkerChange): Promise<WorkerRecord | undefined> {
    return this.#db.transaction().execute(async (trx) => {
      const now = this.#clock.now();
      let update = trx
        .updateTable("workers")
        .set((set) => ({
          version: set("version", "+", 1),
          updated_at: now,
          ...(change.state === undefined ? {} : { state: change.state }),
          ...(change.adminDrain === undefined ? {} : { admin_drain: change.adminDrain ? 1 : 0 }),
        }))
        .where("id", "=", id)
        .where("version", "=", version);
      if (change.silentMs !== undefined) update = update.where("last_heartbeat_at", "<", now - change.silentMs);
      const row = await update.returningAll().executeTakeFirst();
      if (row === undefined) return undefined;
      if (change.event !== undefined) await this.#events.append(trx, now, { ...change.event, resourceId: id, sandboxId: null });
      return decodeWorker(row);
    });
  }

  /** Workers of which nothing was heard for longer than `ms`, though they count as there. */
  async silent(ms: number): Promise<readonly WorkerRecord[]> {
    const rows = await this.#db
      .selectFrom("workers")
      .selectAll()
      .where("state", "in", ["online", "draining"])
      .where("last_heartbeat_at", "<", this.#clock.now() - ms)
      .orderBy("id")
      .execute();
    return rows.map(decodeWorker);
  }

  /**
   * Takes, or keeps, the right to reconcile a worker for `ms`; whether it is the caller's now. A control plane that is no
   * longer alive holds nothing.
   */
  async claim(id: string, by: string, ms: number): Promise<boolean> {
    const now = this.#clock.now();
    const result = await this.#db
      .updateTable("workers")
      .set({ reconciled_by: by, reconciled_until: now + ms })
      .where("id", "=", id)
      .where((where) =>
        where.or([
          where("reconciled_by", "is", null),
          where("reconciled_by", "=", by),
          where("reconciled_until", "<", now),
          where.not(
            where.exists(
              where.selectFrom("control_planes").select("control_planes.id").whereRef("control_planes.id", "=", "workers.reconciled_by"),
            ),
          ),
        ]),
      )
      .executeTakeFirst();
    return result.numUpdatedRows > 0n;
  }

  /** Gives the right to reconcile a worker up. */
  async unclaim(id: string, by: string): Promise<void> {
    await this.#db
      .updateTable("workers")
      .set({ reconciled_by: null, reconciled_until: null })
      .where("id", "=", id)
      .where("reconciled_by", "=", by)
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

  /** Removes a worker that has no live sandbox. One that was removed before stays so. */
  remove(id: string): Promise<Removal> {
    return this.#db.transaction().execute((trx) => removeWorker(trx, id, this.#clock.now(), this.#events));
  }

  /** Sets what a worker was promised to the sum of its leases; whether the counters were wrong. */
  recount(id: string): Promise<boolean> {
    return this.#db.transaction().execute((trx) => recountWorker(trx, id));
  }

  #takeBack(trx: Transaction<Tables>, id: string, tenantId: string | null, now: number): Promise<Selectable<WorkerTable> | undefined> {
    return trx
      .updateTable("workers")
      .set((set) => ({
        version: set("version", "+", 1),
        state: "pending",
        admin_drain: 0,
        tenant_id: tenantId,
        session: null,
        previous_session: null,
        sequence: 0,
        updated_at: now,
      }))
      .where("id", "=", id)
      .where("state", "=", "removed")
      .returningAll()
      .executeTakeFirst();
  }
}
