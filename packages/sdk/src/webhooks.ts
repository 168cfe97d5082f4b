import type {
  CreateWebhook,
  DeliveryPage,
  ListDeliveriesQuery,
  UpdateWebhook,
  Webhook,
  WebhookDelivery,
  WebhookWithSecret,
} from "@caisson/contract";
import type { CallOptions } from "./call-options.ts";
import type { HttpClient } from "./http-client.ts";

/**
 * Telling others of events: `client.webhooks`. Needs the admin key.
 *
 * ```ts
 * const { id, secret } = await client.webhooks.create({ url: "https://example.org/hooks", events: ["process.exited"], active: false });
 * await client.webhooks.update(id, { active: true });
 * await client.webhooks.delete(id);
 * ```
 */
export class Webhooks {
  readonly #http: HttpClient;

  /** Made by `Caisson`. */
  constructor(http: HttpClient) {
    this.#http = http;
  }

  /**
   * Makes a webhook. Its secret is in this answer only; `verifyWebhook` needs it where the messages come in.
   *
   * ```ts
   * const { id, secret } = await client.webhooks.create({ url: "https://example.org/hooks", events: ["sandbox.*"], active: false });
   * ```
   */
  async create(request: CreateWebhook, options: CallOptions = {}): Promise<WebhookWithSecret> {
    return this.#http.json({ ...options, method: "POST", path: "/webhooks", json: request });
  }

  /**
   * All webhooks, oldest first.
   *
   * ```ts
   * for (const { id, url, active } of await client.webhooks.list()) console.log(id, url, active);
   * ```
   */
  async list(options: CallOptions = {}): Promise<readonly Webhook[]> {
    return (await this.#http.json<{ items: Webhook[] }>({ ...options, method: "GET", path: "/webhooks" })).items;
  }

  /**
   * One webhook; throws `webhook_not_found`, as all that follow.
   *
   * ```ts
   * const { id } = await client.webhooks.create({ url: "https://example.org/hooks", active: false });
   * console.log((await client.webhooks.get(id)).events);
   * ```
   */
  async get(id: string, options: CallOptions = {}): Promise<Webhook> {
    return this.#http.json({ ...options, method: "GET", path: pathOf(id) });
  }

  /**
   * Changes what is named.
   *
   * ```ts
   * const { id } = await client.webhooks.create({ url: "https://example.org/hooks", active: false });
   * await client.webhooks.update(id, { events: ["process.exited"] });
   * ```
   */
  async update(id: string, changes: UpdateWebhook, options: CallOptions = {}): Promise<Webhook> {
    return this.#http.json({ ...options, method: "PATCH", path: pathOf(id), json: changes });
  }

  /**
   * Removes a webhook with its messages.
   *
   * ```ts
   * const { id } = await client.webhooks.create({ url: "https://example.org/hooks", active: false });
   * await client.webhooks.delete(id);
   * ```
   */
  async delete(id: string, options: CallOptions = {}): Promise<void> {
    await this.#http.json({ ...options, method: "DELETE", path: pathOf(id) });
  }

  /**
   * Gives a webhook another secret, which is in this answer only. For a day the one before signs too.
   *
   * ```ts
   * const { id } = await client.webhooks.create({ url: "https://example.org/hooks", active: false });
   * const { secret } = await client.webhooks.rotateSecret(id);
   * ```
   */
  async rotateSecret(id: string, options: CallOptions = {}): Promise<WebhookWithSecret> {
    return this.#http.json({ ...options, method: "POST", path: `${pathOf(id)}/rotate-secret` });
  }

  /**
   * Sends a test message now and tells what came of it.
   *
   * ```ts
   * const { id } = await client.webhooks.create({ url: "http://127.0.0.1:9/hooks", active: false });
   * const { status, response_code, error } = await client.webhooks.test(id);
   * ```
   */
  async test(id: string, options: CallOptions = {}): Promise<WebhookDelivery> {
    return this.#http.json({ ...options, method: "POST", path: `${pathOf(id)}/test` });
  }

  /**
   * Messages of a webhook, newest first, page by page.
   *
   * ```ts
   * const { id } = await client.webhooks.create({ url: "https://example.org/hooks", active: false });
   * for await (const { type, status, response_code } of client.webhooks.deliveries(id)) console.log(type, status, response_code);
   * ```
   */
  async *deliveries(
    id: string,
    options: CallOptions & { readonly status?: ListDeliveriesQuery["status"]; readonly pageSize?: number } = {},
  ): AsyncGenerator<WebhookDelivery, void, void> {
    const { signal, timeoutMs, status, pageSize: limit } = options;
    let cursor: string | undefined;
    do {
      const query = { status, limit, cursor };
      const page: DeliveryPage = await this.#http.json({ signal, timeoutMs, method: "GET", path: `${pathOf(id)}/deliveries`, query });
      yield* page.items;
      cursor = page.next_cursor ?? undefined;
    } while (cursor !== undefined);
  }

  /**
   * Sends a message again, with the same id, as soon as those before it are finished.
   *
   * ```ts
   * const { id } = await client.webhooks.create({ url: "http://127.0.0.1:9/hooks", active: false });
   * const failed = await client.webhooks.test(id);
   * await client.webhooks.redeliver(id, failed.id);
   * ```
   */
  async redeliver(id: string, deliveryId: string, options: CallOptions = {}): Promise<WebhookDelivery> {
    const path = `${pathOf(id)}/deliveries/${encodeURIComponent(deliveryId)}/redeliver`;
    return this.#http.json({ ...options, method: "POST", path });
  }
}

function pathOf(id: string): string {
  return `/webhooks/${encodeURIComponent(id)}`;
}
