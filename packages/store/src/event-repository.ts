import { EVENT_TYPES, resourceTypeOf, type Event, type EventType } from "@caisson/contract";
import type { Insertable, Kysely, Selectable, SelectQueryBuilder, Transaction } from "kysely";
import { z } from "zod";
import { WrittenOrder, type EventOrder } from "./event-order.ts";
import type { StoreClock } from "./store-clock.ts";
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

/** Events in order: whoever has read position n+1 has read n, and what happened after something else comes after it. */
export class EventRepository {
  readonly #db: Kysely<Tables>;
  readonly #clock: StoreClock;
  readonly #order: EventOrder;

  /** `order` defaults to the one of a database with a single writer. */
  constructor(db: Kysely<Tables>, clock: StoreClock, order: EventOrder = new WrittenOrder()) {
    this.#db = db;
    this.#clock = clock;
    this.#order = order;
  }

  /** Appends events in the transaction of the change they tell of. */
  async append(trx: Transaction<Tables>, at: number, ...events: readonly NewEvent[]): Promise<void> {
    if (events.length === 0) return;
    await trx
      .insertInto("events")
      .values(events.map((event) => eventRow(event, at)))
      .execute();
    this.#order.appended(trx);
  }

  /** To be called when another statement of the transaction appended events. */
  appended(trx: Transaction<Tables>): void {
    this.#order.appended(trx);
  }

  /** Appends an event of a change that is not in the database. */
  add(event: NewEvent): Promise<void> {
    return this.#db.transaction().execute((trx) => this.append(trx, this.#clock.now(), event));
  }

  /**
   * Calls the listener when events were appended, by this process or by others that share the database. Returns what ends
   * that. Of others one may hear nothing while the connection is broken: who must not miss anything also looks by himself.
   */
  onAppend(listener: () => void): () => void {
    return this.#order.listen(listener);
  }

  /** The last position, those of the transaction's own events included. */
  newest(trx: Transaction<Tables>): Promise<number> {
    return this.#order.newest(trx);
  }

  /** At most `limit` events after a position, oldest first. */
  async after(seq: number, limit: number, filter: EventFilter = {}): Promise<readonly Event[]> {
    await this.#order.settle();
    return (await wanted(this.#db, filter).where("seq", ">", seq).orderBy("seq").limit(limit).execute()).map(decode);
  }

  /** The last `limit` events before a position, oldest first. */
  async before(seq: number, limit: number, filter: EventFilter = {}): Promise<readonly Event[]> {
    await this.#order.settle();
    const newestFirst = wanted(this.#db, filter).where("seq", "<", seq).orderBy("seq", "desc").limit(limit);
    return (await newestFirst.execute()).map(decode).toReversed();
  }

  /** At most `limit` events after a position, and how far that looked: all of one moment. */
  async page(seq: number, limit: number, filter: EventFilter = {}): Promise<EventPage> {
    await this.#order.settle();
    const moment = this.#db.transaction().setIsolationLevel("repeatable read");
    return moment.execute(async (trx) => {
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

/** An event as a row. */
export function eventRow(event: NewEvent, at: number): Insertable<EventTable> {
  const { type, resourceId, sandboxId, data } = event;
  return { type, resource_id: resourceId, sandbox_id: sandboxId, at, data: JSON.stringify(data) };
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
