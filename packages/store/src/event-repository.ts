import { EVENT_TYPES, type Event, type EventType } from "@caisson/contract";
import type { Kysely, Transaction } from "kysely";
import { z } from "zod";
import type { Tables } from "./tables.ts";

const dataSchema = z.record(z.string(), z.unknown());
const typeSchema = z.enum(EVENT_TYPES);

/** An event before it has its place in the order. */
export interface NewEvent {
  readonly type: EventType;
  readonly data: Readonly<Record<string, unknown>>;
}

/** Appends an event in the transaction of the change it tells of. */
export async function appendEvent(trx: Transaction<Tables>, sandboxId: string, at: number, event: NewEvent): Promise<void> {
  await trx
    .insertInto("events")
    .values({ type: event.type, sandbox_id: sandboxId, at, data: JSON.stringify(event.data) })
    .execute();
}

/** Events in order. */
export class EventRepository {
  readonly #db: Kysely<Tables>;

  constructor(db: Kysely<Tables>) {
    this.#db = db;
  }

  /** At most `limit` events after a sequence number, oldest first. */
  async after(seq: number, limit: number): Promise<readonly Event[]> {
    const rows = await this.#db.selectFrom("events").selectAll().where("seq", ">", seq).orderBy("seq").limit(limit).execute();
    return rows.map((row) => ({
      seq: row.seq,
      type: typeSchema.parse(row.type),
      sandbox_id: row.sandbox_id,
      at: new Date(row.at).toISOString(),
      data: dataSchema.parse(JSON.parse(row.data)),
    }));
  }
}
