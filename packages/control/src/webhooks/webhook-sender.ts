import { CaissonError, eventTypesOf, newId, toCaissonError, type Clock, type Event, type Random } from "@caisson/contract";
import type { AttemptResult, DeliveryRecord, NewDelivery, Store, WebhookRecord } from "@caisson/store";
import type { Logger } from "../logger.ts";
import { Loop } from "../loop.ts";
import { withDeadline } from "../with-deadline.ts";
import { retryDelay } from "./retry-delay.ts";
import { signWebhook } from "./sign-webhook.ts";

/** Time a receiver has to answer, in ms. */
const ANSWER_MS = 15_000;
/** How long a sender holds the right to send to a webhook, in ms; longer than one attempt. */
const LEASE_MS = 20_000;
/** Messages queued for a webhook at most; later events stay in the order of events until there is room. */
const QUEUE = 1_000;
/** Events looked at in one step. */
const PAGE = 200;
/** Webhooks sent to at once. */
const AT_ONCE = 16;
/** Longest rest, in ms: how late the work of a control plane that died is taken over, and events of others are seen. */
const LONGEST_REST_MS = 2_000;
const SHORTEST_REST_MS = 10;

/** One POST request. */
export interface WebhookRequest {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly signal: AbortSignal;
}

/** Sends a request, follows no redirect, and resolves with the status and the beginning of the answer. */
export type SendWebhook = (request: WebhookRequest) => Promise<{ readonly status: number; readonly body: string }>;

/** What a sender needs. */
export interface WebhookSenderOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly store: Store;
  readonly logger: Logger;
  readonly send: SendWebhook;
  /** Delays after failed attempts, in ms. */
  readonly retriesMs: readonly number[];
}

/**
 * Tells webhooks of events: each of all that it wants, in order, at least once. Events become messages of a queue in the
 * database; of each queue the first is sent until it is taken or has failed for good, then the next. Which control plane
 * sends to a webhook is a lease of that row.
 */
export class WebhookSender {
  readonly #options: WebhookSenderOptions;
  readonly #loop: Loop;
  readonly #owner: string;
  readonly #sending = new Map<string, Promise<void>>();
  /** There was no webhook to serve at the last look. */
  #none = false;

  constructor(options: WebhookSenderOptions) {
    this.#options = options;
    this.#owner = Buffer.from(options.random.bytes(12)).toString("hex");
    this.#loop = new Loop({ name: "webhooks", clock: options.clock, logger: options.logger, round: (signal) => this.#round(signal) });
  }

  /** Runs until the signal is aborted; what is being sent then is broken off and sent again by the next start. */
  async run(signal: AbortSignal): Promise<void> {
    // Where there is no webhook, events are no reason to look for one: who makes one here nudges, and one that was made elsewhere is
    // served there, and found by the next look.
    const unsubscribe = this.#options.store.events.onAppend(() => {
      if (!this.#none) this.#loop.nudge();
    });
    try {
      await this.#loop.run(signal);
    } finally {
      unsubscribe();
      await Promise.all(this.#sending.values());
    }
  }

  /** Looks for work now. */
  nudge(): void {
    this.#loop.nudge();
  }

  /** Sends a message once. Rejects only when the signal is aborted. */
  async attempt(webhook: WebhookRecord, message: NewDelivery, signal: AbortSignal): Promise<AttemptResult> {
    const { clock, send } = this.#options;
    const now = clock.now();
    const secrets = [webhook.secret, ...(webhook.oldSecret !== null && webhook.oldSecret.until > now ? [webhook.oldSecret.secret] : [])];
    const headers = { "content-type": "application/json", "user-agent": "caisson", ...signWebhook(message.id, now, message.body, secrets) };
    const begun = clock.monotonic();
    const took = (): number => Math.round((clock.monotonic() - begun) * 10) / 10;
    try {
      const deadline = { clock, ms: ANSWER_MS, what: "an answer", signal };
      const answer = await withDeadline(deadline, (limited) => send({ url: webhook.url, headers, body: message.body, signal: limited }));
      return { responseCode: answer.status, responseBody: answer.body, error: null, durationMs: took() };
    } catch (error) {
      signal.throwIfAborted();
      return { responseCode: null, responseBody: null, error: toCaissonError(error).message.slice(0, 512), durationMs: took() };
    }
  }

  async #round(signal: AbortSignal): Promise<number> {
    const { store, clock } = this.#options;
    let rest = LONGEST_REST_MS;
    const webhooks = await store.webhooks.list();
    this.#none = !webhooks.some(({ active }) => active);
    for (const webhook of webhooks) {
      if (!webhook.active || this.#sending.has(webhook.id)) continue;
      if (await this.#queue(webhook)) rest = SHORTEST_REST_MS;
      const head = await store.deliveries.head(webhook.id);
      if (head === undefined) continue;
      const wait = (head.nextAttemptAt ?? 0) - clock.now();
      if (wait > 0) rest = Math.min(rest, wait);
      else if (this.#sending.size < AT_ONCE) this.#send(webhook, signal);
    }
    return Math.max(SHORTEST_REST_MS, rest);
  }

  /** Makes messages of the events that a webhook has not heard of; whether there may be more. */
  async #queue(webhook: WebhookRecord): Promise<boolean> {
    const { store, clock, random, logger } = this.#options;
    if ((await store.deliveries.waiting(webhook.id, QUEUE)) >= QUEUE) return false;
    const types = eventTypesOf(webhook.events);
    const filter = { ...(types === undefined ? {} : { types }), ...(webhook.sandboxId === null ? {} : { sandboxId: webhook.sandboxId }) };
    const page = await store.events.page(webhook.position, PAGE, filter);
    // Where nothing is wanted, the position need not be written each time.
    if (page.items.length === 0 && page.scanned - webhook.position < PAGE) return false;
    const messages = page.items.map((event) => messageOf(newId("delivery", clock.now(), random), event));
    if (page.oldest > webhook.position + 1) {
      const gap = { from: webhook.position + 1, to: page.oldest };
      logger.warn({ webhook_id: webhook.id, ...gap }, "a webhook was too slow: events are no longer kept");
      messages.unshift(message(newId("delivery", clock.now(), random), "gap", null, clock.now(), gap));
    }
    await store.deliveries.enqueue(webhook.id, webhook.position, page.scanned, messages);
    return page.items.length === PAGE;
  }

  /** Sends what is due to one webhook, in the background. */
  #send(webhook: WebhookRecord, signal: AbortSignal): void {
    const work = async (): Promise<void> => {
      const { store, logger } = this.#options;
      try {
        while (!signal.aborted && (await this.#sendHead(webhook.id, signal))) {
          // until nothing is due
        }
      } catch (error) {
        if (!signal.aborted)
          logger.error({ webhook_id: webhook.id, outcome: toCaissonError(error).code, err: error }, "a webhook was not served");
      } finally {
        await store.webhooks.release(webhook.id, this.#owner).catch(() => undefined); // it runs out by itself
        this.#sending.delete(webhook.id);
        this.#loop.nudge();
      }
    };
    this.#sending.set(webhook.id, work());
  }

  /** Sends the first message of a queue if it is due; whether the next one may be. */
  async #sendHead(webhookId: string, signal: AbortSignal): Promise<boolean> {
    const { store, clock, random, retriesMs, logger } = this.#options;
    if (!(await store.webhooks.claim(webhookId, this.#owner, LEASE_MS))) return false;
    // Read under the lease: settings and queue may have changed.
    const webhook = await store.webhooks.get(webhookId);
    const head = await store.deliveries.head(webhookId);
    if (webhook === undefined || !webhook.active || head === undefined || (head.nextAttemptAt ?? 0) > clock.now()) return false;
    const result = await this.attempt(webhook, head, signal);
    const taken = wasTaken(result);
    const inMs = taken ? undefined : retryDelay(head.attempts + 1, retriesMs, random);
    const after = inMs === undefined ? ({ status: taken ? "delivered" : "failed" } as const) : ({ status: "pending", inMs } as const);
    const written = await store.deliveries.attempted(head, this.#owner, result, after);
    if (after.status === "failed") this.#warn(head, result);
    logger.debug(
      {
        webhook_id: webhookId,
        delivery_id: head.id,
        type: head.type,
        outcome: after.status,
        status: result.responseCode,
        duration_ms: result.durationMs,
      },
      "a message was sent to a webhook",
    );
    return written && after.status !== "pending";
  }

  #warn(head: DeliveryRecord, result: AttemptResult): void {
    const { logger } = this.#options;
    const fields = { webhook_id: head.webhookId, delivery_id: head.id, status: result.responseCode, error: result.error };
    logger.warn(fields, "a message to a webhook was given up");
  }
}

/** Whether a receiver took a message. */
export function wasTaken({ responseCode }: AttemptResult): boolean {
  return responseCode !== null && responseCode >= 200 && responseCode < 300;
}

/** The message of an event. */
function messageOf(id: string, event: Event): NewDelivery {
  return { id, type: event.type, eventSeq: event.seq, body: JSON.stringify({ type: event.type, timestamp: event.at, data: event }) };
}

/** A message that is no event. */
export function message(id: string, type: "gap" | "webhook.test", eventSeq: null, now: number, data: object): NewDelivery {
  return { id, type, eventSeq, body: JSON.stringify({ type, timestamp: new Date(now).toISOString(), data }) };
}

/** Sends nothing: for those who run no webhooks. */
export const sendsNothing: SendWebhook = () => Promise.reject(new CaissonError("unsupported", "This server sends no webhooks."));
