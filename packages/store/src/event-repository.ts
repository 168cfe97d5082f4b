import { EVENT_TYPES, resourceTypeOf, type Event, type EventType } from "@caisson/contract";
import type { Kysely, Selectable, SelectQueryBuilder, Transaction } from "kysely";
import { z } from "zod";
import type { StoreClock } from "./sandbox-repository.ts";
import type { EventTable, Tables } from "./tables.ts";

const dataSchema = z.record(z.string(), z.unknown());
const typeSchema = z.enum(EVENT_TYPES);

/** An event before it has its place in the order. */
export interface NewEvent {
  readonly type: EventType;
  /** Id of what it is about. */
  readonly resourceId: string;
  /** The sandbox that it is about or that the resource is in; null for none. */
  readonly sandboxId: string | null;
  readonly data: Readonly<Record<string, unknown>>;
}

/** Which events to read. */
export interface EventFilter {
  /** Absent: every type. */
  readonly types?: ReadonlySet<EventType>;
  readonly sandboxId?: string;
}

/** A piece of the order. */
export interface EventPage {
  /** Oldest first. */
  readonly items: readonly Event[];
  /** Everything up to this position was looked at: where the next page begins. */
  readonly scanned: number;
  /** First position that is still kept; 0 before the first event. */
  readonly oldest: number;
  /** Last position that was given; 0 before the first event. */
  readonly newest: number;
}

/**
 * Events in order. On SQLite there is one writer, so whoever reads position n+1 has read n. A database with several writers
 * gives positions before it commits them: there, appending must be serialised, or reading must stop before the oldest
 * position that is still under way.
 */
export class EventRepository {
  readonly #db: Kysely<Tables>;
  readonly #clock: StoreClock;
  readonly #listeners = new Set<() => void>();

  constructor(db: Kysely<Tables>, clock: StoreClock) {
    this.#db = db;
    this.#clock = clock;
  }

  /** Appends events in the transaction of the change they tell of. */
  async append(trx: Transaction<Tables>, at: number, ...events: readonly NewEvent[]): Promise<void> {
    if (events.length === 0) return;
    await trx
      .insertInto("events")
      .values(
        events.map((event) => ({
          type: event.type,
          resource_id: event.resourceId,
          sandbox_id: event.sandboxId,
          at,
          data: JSON.stringify(event.data),
        })),
      )
      .execute();
    // Before the commit; the one who reads on hearing it gets the connection after the commit.
    for (const listener of this.#listeners) listener();
  }

  /** Appends an event of a change that is not in the database. */
  add(event: NewEvent): Promise<void> {
    return this.#db.transaction().execute((trx) => this.append(trx, this.#clock.now(), event));
  }

  /** Calls the listener whenever this process appends something. Returns what ends that. */
  onAppend(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** At most `limit` events after a position, oldest first. */
  async after(seq: number, limit: number, filter: EventFilter = {}): Promise<readonly Event[]> {
    return (await wanted(this.#db, filter).where("seq", ">", seq).orderBy("seq").limit(limit).execute()).map(decode);
  }

  /** The last `limit` events before a position, oldest first. */
  async before(seq: number, limit: number, filter: EventFilter = {}): Promise<readonly Event[]> {
    const newestFirst = wanted(this.#db, filter).where("seq", "<", seq).orderBy("seq", "desc").limit(limit);
    return (await newestFirst.execute()).map(decode).toReversed();
  }

  /** At most `limit` events after a position, and how far that looked: all of one moment. */
  page(seq: number, limit: number, filter: EventFilter = {}): Promise<EventPage> {
    return this.#db.transaction().execute(async (trx) => {
      const { oldest, newest } = await trx
        .selectNoFrom((where) => [
          where
            .selectFrom("events")
            .select((of) => of.fn.min<number | null>("seq").as("seq"))
            .as("oldest"),
          where
            .selectFrom("events")
            .select((of) => of.fn.max<number | null>("seq").as("seq"))
            .as("newest"),
        ])
        .executeTakeFirstOrThrow();
      const items = (await wanted(trx, filter).where("seq", ">", seq).orderBy("seq").limit(limit).execute()).map(decode);
      const scanned = items.length < limit ? (newest ?? 0) : (items.at(-1)?.seq ?? seq);
      return { items, scanned: Math.max(seq, scanned), oldest: oldest ?? 0, newest: newest ?? 0 };
    });
  }
}

function wanted(db: Kysely<Tables>, { types, sandboxId }: EventFilter): SelectQueryBuilder<Tables, "events", Selectable<EventTable>> {
  let query = db.selectFrom("events").selectAll();
  if (sandboxId !== undefined) query = query.where("sandbox_id", "=", sandboxId);
  if (types !== undefined && types.size < EVENT_TYPES.length) query = query.where("type", "in", [...types]);
  return query;
}

function decode(row: Selectable<EventTable>): Event {
  const type = typeSchema.parse(row.type);
  return {
    seq: row.seq,
    type,
    resource_type: resourceTypeOf(type),
    resource_id: row.resource_id,
    sandbox_id: row.sandbox_id,
    at: new Date(row.at).toISOString(),
    data: dataSchema.parse(JSON.parse(row.data)),
  };
}
