import {
  CaissonError,
  newId,
  type Clock,
  type CreateWebhook,
  type DeliveryPage,
  type ListDeliveriesQuery,
  type Random,
  type UpdateWebhook,
  type Webhook,
  type WebhookDelivery,
  type WebhookWithSecret,
} from "@caisson/contract";
import { webhookNotFound, type DeliveryRecord, type Store, type WebhookRecord } from "@caisson/store";
import { newWebhookSecret } from "./sign-webhook.ts";
import { message, wasTaken, type WebhookSender } from "./webhook-sender.ts";

/** How long the secret before signs too, in ms. */
const OLD_SECRET_MS = 86_400_000;

/** What webhooks need. */
export interface WebhooksOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly store: Store;
  readonly sender: WebhookSender;
}

/** What may be asked of webhooks. */
export interface WebhookOperations {
  /** Its secret is in this answer only. */
  create(request: CreateWebhook): Promise<WebhookWithSecret>;
  list(): Promise<readonly Webhook[]>;
  /** `webhook_not_found`, as all that follow. */
  get(id: string): Promise<Webhook>;
  update(id: string, request: UpdateWebhook): Promise<Webhook>;
  remove(id: string): Promise<void>;
  /** Gives it another secret, which is in this answer only; the one before signs too for a day. */
  rotateSecret(id: string): Promise<WebhookWithSecret>;
  /** Messages, newest first. */
  deliveries(id: string, query: ListDeliveriesQuery): Promise<DeliveryPage>;
  /** Sends a message of type `webhook.test` now, once, beside the queue. */
  test(id: string, signal: AbortSignal): Promise<WebhookDelivery>;
  /** Sends a message again, as soon as those before it are finished. */
  redeliver(id: string, deliveryId: string): Promise<WebhookDelivery>;
}

/** Webhooks as the API shows them. */
export class Webhooks implements WebhookOperations {
  readonly #options: WebhooksOptions;

  constructor(options: WebhooksOptions) {
    this.#options = options;
  }

  async create(request: CreateWebhook): Promise<WebhookWithSecret> {
    const { clock, random, store, sender } = this.#options;
    const secret = newWebhookSecret(random);
    const settings = {
      url: request.url,
      events: request.events ?? [],
      sandboxId: request.sandbox_id ?? null,
      active: request.active ?? true,
    };
    const record = await store.webhooks.create(newId("webhook", clock.now(), random), settings, secret);
    sender.nudge();
    return { ...toWebhook(record), secret };
  }

  async list(): Promise<readonly Webhook[]> {
    return (await this.#options.store.webhooks.list()).map(toWebhook);
  }

  async get(id: string): Promise<Webhook> {
    return toWebhook(await this.#record(id));
  }

  async update(id: string, { url, events, sandbox_id: sandboxId, active }: UpdateWebhook): Promise<Webhook> {
    const record = await this.#options.store.webhooks.update(id, {
      ...(url === undefined ? {} : { url }),
      ...(events === undefined ? {} : { events }),
      ...(sandboxId === undefined ? {} : { sandboxId }),
      ...(active === undefined ? {} : { active }),
    });
    if (record === undefined) throw webhookNotFound(id);
    this.#options.sender.nudge();
    return toWebhook(record);
  }

  async remove(id: string): Promise<void> {
    if (!(await this.#options.store.webhooks.remove(id))) throw webhookNotFound(id);
  }

  async rotateSecret(id: string): Promise<WebhookWithSecret> {
    const secret = newWebhookSecret(this.#options.random);
    const record = await this.#options.store.webhooks.rotate(id, secret, OLD_SECRET_MS);
    if (record === undefined) throw webhookNotFound(id);
    return { ...toWebhook(record), secret };
  }

  async deliveries(id: string, { limit = 100, status, cursor }: ListDeliveriesQuery): Promise<DeliveryPage> {
    await this.#record(id);
    const options = { ...(status === undefined ? {} : { status }), ...(cursor === undefined ? {} : { cursor }) };
    const page = await this.#options.store.deliveries.page(id, limit, options);
    return { items: page.items.map(toDelivery), next_cursor: page.nextCursor };
  }

  async test(id: string, signal: AbortSignal): Promise<WebhookDelivery> {
    const { clock, random, store, sender } = this.#options;
    const webhook = await this.#record(id);
    const test = message(newId("delivery", clock.now(), random), "webhook.test", null, clock.now(), { webhook_id: id });
    const result = await sender.attempt(webhook, test, signal);
    return toDelivery(await store.deliveries.addFinished(id, test, wasTaken(result) ? "delivered" : "failed", result));
  }

  async redeliver(id: string, deliveryId: string): Promise<WebhookDelivery> {
    await this.#record(id);
    const record = await this.#options.store.deliveries.again(id, deliveryId);
    if (record === undefined) throw new CaissonError("not_found", `The webhook has no message ${deliveryId.slice(0, 64)}.`);
    this.#options.sender.nudge();
    return toDelivery(record);
  }

  async #record(id: string): Promise<WebhookRecord> {
    const record = await this.#options.store.webhooks.get(id);
    if (record === undefined) throw webhookNotFound(id);
    return record;
  }
}

function toWebhook(record: WebhookRecord): Webhook {
  return {
    id: record.id,
    url: record.url,
    events: [...record.events],
    sandbox_id: record.sandboxId,
    active: record.active,
    created_at: new Date(record.createdAt).toISOString(),
    updated_at: new Date(record.updatedAt).toISOString(),
  };
}

function toDelivery(record: DeliveryRecord): WebhookDelivery {
  const time = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString());
  return {
    id: record.id,
    webhook_id: record.webhookId,
    type: record.type,
    seq: record.eventSeq,
    status: record.status,
    attempts: record.attempts,
    created_at: new Date(record.createdAt).toISOString(),
    last_attempt_at: time(record.lastAttemptAt),
    next_attempt_at: time(record.nextAttemptAt),
    response_code: record.last?.responseCode ?? null,
    response_body: record.last?.responseBody ?? null,
    error: record.last?.error ?? null,
    duration_ms: record.last?.durationMs ?? null,
  };
}
