import { CaissonError } from "@caisson/contract";
import type { Kysely, Selectable, Transaction } from "kysely";
import { z } from "zod";
import type { EventRepository } from "./event-repository.ts";
import type { Locks } from "./locks.ts";
import type { StoreClock } from "./store-clock.ts";
import type { Tables, WebhookTable } from "./tables.ts";

/** What can be said of a webhook. */
export interface WebhookSettings {
  readonly url: string;
  /** Patterns of types; none for all. */
  readonly events: readonly string[];
  readonly sandboxId: string | null;
  readonly active: boolean;
}

/** A webhook as it is kept. Times in ms since the Unix epoch. */
export interface WebhookRecord extends WebhookSettings {
  readonly id: string;
  readonly secret: string;
  /** The secret before, which still signs until a moment. */
  readonly oldSecret: { readonly secret: string; readonly until: number } | null;
  /** Events up to here became messages, or were not wanted. */
  readonly position: number;
  readonly createdAt: number;
  readonly updatedAt: number;
}

const eventsSchema = z.array(z.string());

/** Webhooks. Every change is an event. */
export class WebhookRepository {
  readonly #db: Kysely<Tables>;
  readonly #clock: StoreClock;
  readonly #events: EventRepository;
  readonly #locks: Locks;

  constructor(db: Kysely<Tables>, clock: StoreClock, events: EventRepository, locks: Locks) {
    this.#db = db;
    this.#clock = clock;
    this.#events = events;
    this.#locks = locks;
  }

  /** Makes a webhook that hears of what happens from now on. */
  create(id: string, settings: WebhookSettings, secret: string): Promise<WebhookRecord> {
    return this.#db.transaction().execute(async (trx) => {
      const now = this.#clock.now();
      await this.#tell(trx, "webhook.created", id, settings, now);
      const row = {
        id,
        ...encode(settings),
        secret,
        old_secret: null,
        old_secret_until: null,
        position: await this.#events.newest(trx),
        lease_owner: null,
        lease_until: null,
        created_at: now,
        updated_at: now,
      };
      await trx.insertInto("webhooks").values(row).execute();
      return decode(row);
    });
  }

  /** Changes what is named. One that becomes active hears of what happens from then on. Undefined when there is none. */
  update(id: string, changes: Partial<WebhookSettings>): Promise<WebhookRecord | undefined> {
    return this.#db.transaction().execute(async (trx) => {
      const before = await this.#locks.rows(trx.selectFrom("webhooks").selectAll().where("id", "=", id), "update").executeTakeFirst();
      if (before === undefined) return undefined;
      const now = this.#clock.now();
      const settings: WebhookSettings = { ...decode(before), ...changes };
      await this.#tell(trx, "webhook.updated", id, settings, now);
      const position = settings.active && before.active === 0 ? await this.#events.newest(trx) : before.position;
      const change = { ...encode(settings), position, updated_at: now };
      await trx.updateTable("webhooks").set(change).where("id", "=", id).execute();
      return decode({ ...before, ...change });
    });
  }

  /** Gives it another secret; the present one signs too for `graceMs`. Undefined when there is none. */
  rotate(id: string, secret: string, graceMs: number): Promise<WebhookRecord | undefined> {
    return this.#db.transaction().execute(async (trx) => {
      const now = this.#clock.now();
      const row = await trx
        .updateTable("webhooks")
        .set((set) => ({ secret, old_secret: set.ref("secret"), old_secret_until: now + graceMs, updated_at: now }))
        .where("id", "=", id)
        .returningAll()
        .executeTakeFirst();
      if (row === undefined) return undefined;
      const record = decode(row);
      await this.#tell(trx, "webhook.updated", id, record, now);
      return record;
    });
  }

  /** Removes it with its messages; whether there was one. */
  remove(id: string): Promise<boolean> {
    return this.#db.transaction().execute(async (trx) => {
      const result = await trx.deleteFrom("webhooks").where("id", "=", id).executeTakeFirst();
      if (result.numDeletedRows === 0n) return false;
      const event = { type: "webhook.deleted", resourceId: id, sandboxId: null, data: {} } as const;
      await this.#events.append(trx, this.#clock.now(), event);
      return true;
    });
  }

  async get(id: string): Promise<WebhookRecord | undefined> {
    const row = await this.#db.selectFrom("webhooks").selectAll().where("id", "=", id).executeTakeFirst();
    return row === undefined ? undefined : decode(row);
  }

  /** All of them, oldest first. */
  async list(): Promise<readonly WebhookRecord[]> {
    return (await this.#db.selectFrom("webhooks").selectAll().orderBy("created_at").orderBy("id").execute()).map(decode);
  }

  /** Takes the right to send to a webhook, or keeps it, for a time; false while somebody else has it. */
  async claim(id: string, owner: string, ms: number): Promise<boolean> {
    const now = this.#clock.now();
    const result = await this.#db
      .updateTable("webhooks")
      .set({ lease_owner: owner, lease_until: now + ms })
      .where("id", "=", id)
      .where((where) => where.or([where("lease_owner", "is", null), where("lease_owner", "=", owner), where("lease_until", "<=", now)]))
      .executeTakeFirst();
    return result.numUpdatedRows > 0n;
  }

  /** Gives that right back. */
  async release(id: string, owner: string): Promise<void> {
    await this.#db
      .updateTable("webhooks")
      .set({ lease_owner: null, lease_until: null })
      .where("id", "=", id)
      .where("lease_owner", "=", owner)
      .execute();
  }

  #tell(trx: Transaction<Tables>, type: "webhook.created" | "webhook.updated", id: string, settings: WebhookSettings, now: number) {
    // Not the address: it may hold a secret.
    const data = { events: [...settings.events], sandbox_id: settings.sandboxId, active: settings.active };
    return this.#events.append(trx, now, { type, resourceId: id, sandboxId: null, data });
  }
}

function encode(settings: WebhookSettings): Pick<WebhookTable, "url" | "events" | "sandbox_id" | "active"> {
  const { url, events, sandboxId, active } = settings;
  return { url, events: JSON.stringify(events), sandbox_id: sandboxId, active: active ? 1 : 0 };
}

function decode(row: Selectable<WebhookTable>): WebhookRecord {
  const { old_secret: secret, old_secret_until: until } = row;
  return {
    id: row.id,
    url: row.url,
    events: eventsSchema.parse(JSON.parse(row.events)),
    sandboxId: row.sandbox_id,
    active: row.active !== 0,
    secret: row.secret,
    oldSecret: secret === null || until === null ? null : { secret, until },
    position: row.position,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}

/** The error of a webhook that there is not. */
export function webhookNotFound(id: string): CaissonError {
  return new CaissonError("webhook_not_found", `There is no webhook ${id.slice(0, 64)}.`);
}
