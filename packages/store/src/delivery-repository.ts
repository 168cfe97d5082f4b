import { DELIVERY_STATUSES } from "@caisson/contract";
import type { Kysely, Selectable } from "kysely";
import { z } from "zod";
import { decodeNumber } from "./page-cursor.ts";
import type { StoreClock } from "./store-clock.ts";
import type { DeliveryTable, Tables } from "./tables.ts";

/** Where a message stands. */
export type DeliveryStatus = (typeof DELIVERY_STATUSES)[number];

/** A message that is to be sent. */
export interface NewDelivery {
  readonly id: string;
  readonly type: string;
  readonly eventSeq: number | null;
  /** What is sent, byte for byte, each time. */
  readonly body: string;
}

/** What came of sending a message once. */
export interface AttemptResult {
  /** HTTP status; null when no answer came. */
  readonly responseCode: number | null;
  readonly responseBody: string | null;
  readonly error: string | null;
  readonly durationMs: number;
}

/** A message as it is kept. Times in ms since the Unix epoch. */
export interface DeliveryRecord extends NewDelivery {
  readonly webhookId: string;
  readonly status: DeliveryStatus;
  readonly attempts: number;
  readonly createdAt: number;
  readonly lastAttemptAt: number | null;
  /** Null when it is finished. */
  readonly nextAttemptAt: number | null;
  /** The last attempt; null before the first. */
  readonly last: AttemptResult | null;
}

/** What becomes of a message after an attempt: finished, or tried again. */
export type AfterAttempt = { readonly status: "delivered" | "failed" } | { readonly status: "pending"; readonly inMs: number };

const statusSchema = z.enum(DELIVERY_STATUSES);

/** Messages to webhooks, in order for each of them. */
export class DeliveryRepository {
  readonly #db: Kysely<Tables>;
  readonly #clock: StoreClock;

  constructor(db: Kysely<Tables>, clock: StoreClock) {
    this.#db = db;
    this.#clock = clock;
  }

  /**
   * Queues the messages of events in `(from, to]` and moves the webhook's position there, in one transaction. Does nothing
   * when somebody else has moved it. Whether it did.
   */
  enqueue(webhookId: string, from: number, to: number, messages: readonly NewDelivery[]): Promise<boolean> {
    return this.#db.transaction().execute(async (trx) => {
      const moved = await trx
        .updateTable("webhooks")
        .set({ position: to })
        .where("id", "=", webhookId)
        .where("position", "=", from)
        .executeTakeFirst();
      if (moved.numUpdatedRows === 0n) return false;
      const now = this.#clock.now();
      if (messages.length > 0) {
        await trx
          .insertInto("webhook_deliveries")
          .values(messages.map((message) => ({ ...encode(message, webhookId, now), status: "pending", next_attempt_at: now })))
          .execute();
      }
      return true;
    });
  }

  /** Writes a message that was sent once, beside the queue. */
  async addFinished(
    webhookId: string,
    message: NewDelivery,
    status: "delivered" | "failed",
    result: AttemptResult,
  ): Promise<DeliveryRecord> {
    const now = this.#clock.now();
    const row = await this.#db
      .insertInto("webhook_deliveries")
      .values({ ...encode(message, webhookId, now), status, attempts: 1, last_attempt_at: now, ...encodeResult(result) })
      .returningAll()
      .executeTakeFirstOrThrow();
    return decode(row);
  }

  /** The message that is next in a webhook's queue, due or not. */
  async head(webhookId: string): Promise<DeliveryRecord | undefined> {
    const row = await this.#db
      .selectFrom("webhook_deliveries")
      .selectAll()
      .where("webhook_id", "=", webhookId)
      .where("status", "=", "pending")
      .orderBy("seq")
      .limit(1)
      .executeTakeFirst();
    return row === undefined ? undefined : decode(row);
  }

  /** How many messages wait in a webhook's queue, counted up to a bound. */
  async waiting(webhookId: string, bound: number): Promise<number> {
    const queue = this.#db
      .selectFrom("webhook_deliveries")
      .select("seq")
      .where("webhook_id", "=", webhookId)
      .where("status", "=", "pending")
      .limit(bound);
    return (await queue.execute()).length;
  }

  /** Writes what came of an attempt, if the message still waits and its sender still has the right to send. */
  async attempted(record: DeliveryRecord, owner: string, result: AttemptResult, after: AfterAttempt): Promise<boolean> {
    const now = this.#clock.now();
    const updated = await this.#db
      .updateTable("webhook_deliveries")
      .set((set) => ({
        attempts: set("attempts", "+", 1),
        status: after.status,
        last_attempt_at: now,
        next_attempt_at: after.status === "pending" ? now + after.inMs : null,
        ...encodeResult(result),
      }))
      .where("id", "=", record.id)
      .where("status", "=", "pending")
      .where((where) =>
        where.exists(
          where
            .selectFrom("webhooks")
            .select("webhooks.id")
            .where("webhooks.id", "=", record.webhookId)
            .where("webhooks.lease_owner", "=", owner),
        ),
      )
      .executeTakeFirst();
    return updated.numUpdatedRows > 0n;
  }

  /** Puts a message into the queue again, at its old place, to be sent now. Undefined when there is none. */
  async again(webhookId: string, id: string): Promise<DeliveryRecord | undefined> {
    const row = await this.#db
      .updateTable("webhook_deliveries")
      .set({ status: "pending", attempts: 0, next_attempt_at: this.#clock.now() })
      .where("webhook_id", "=", webhookId)
      .where("id", "=", id)
      .returningAll()
      .executeTakeFirst();
    return row === undefined ? undefined : decode(row);
  }

  /** A page of one webhook, newest first, and the cursor of the next one. */
  async page(
    webhookId: string,
    limit: number,
    options: { readonly status?: DeliveryStatus; readonly cursor?: string } = {},
  ): Promise<{ readonly items: readonly DeliveryRecord[]; readonly nextCursor: string | null }> {
    let query = this.#db.selectFrom("webhook_deliveries").selectAll().where("webhook_id", "=", webhookId);
    if (options.status !== undefined) query = query.where("status", "=", options.status);
    if (options.cursor !== undefined) query = query.where("seq", "<", decodeNumber(options.cursor));
    const rows = await query
      .orderBy("seq", "desc")
      .limit(limit + 1)
      .execute();
    const items = rows.slice(0, limit);
    const last = items.at(-1);
    return { items: items.map(decode), nextCursor: rows.length > limit && last !== undefined ? String(last.seq) : null };
  }
}

function encode(message: NewDelivery, webhookId: string, now: number): Omit<DeliveryTable, "seq" | "status"> {
  return {
    id: message.id,
    webhook_id: webhookId,
    type: message.type,
    event_seq: message.eventSeq,
    body: message.body,
    attempts: 0,
    created_at: now,
    last_attempt_at: null,
    next_attempt_at: null,
    response_code: null,
    response_body: null,
    error: null,
    duration_ms: null,
  };
}

function encodeResult(result: AttemptResult): Pick<DeliveryTable, "response_code" | "response_body" | "error" | "duration_ms"> {
  const { responseCode, responseBody, error, durationMs } = result;
  return { response_code: responseCode, response_body: responseBody, error, duration_ms: durationMs };
}

function decode(row: Selectable<DeliveryTable>): DeliveryRecord {
  return {
    id: row.id,
    webhookId: row.webhook_id,
    type: row.type,
    eventSeq: row.event_seq,
    body: row.body,
    status: statusSchema.parse(row.status),
    attempts: row.attempts,
    createdAt: row.created_at,
    lastAttemptAt: row.last_attempt_at,
    nextAttemptAt: row.next_attempt_at,
    last:
      row.duration_ms === null
        ? null
        : { responseCode: row.response_code, responseBody: row.response_body, error: row.error, durationMs: row.duration_ms },
  };
}
