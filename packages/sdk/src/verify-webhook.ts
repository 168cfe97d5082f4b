import type { Event } from "@caisson/contract";
import { CaissonApiError } from "./api-error.ts";
import { fromBase64 } from "./base64.ts";

/** What comes to a webhook. */
export interface WebhookMessage {
  /** Type of the event; also `webhook.test`, and `gap` for events that were no longer kept. */
  readonly type: string;
  /** When it happened. */
  readonly timestamp: string;
  /** The event. */
  readonly data: Event | Readonly<Record<string, unknown>>;
}

/** Headers of a request, as `fetch` and as Node give them. */
export type WebhookHeaders = Headers | Readonly<Record<string, string | readonly string[] | undefined>>;

/** How far the clocks of sender and receiver may differ, in ms. */
const TOLERANCE_MS = 300_000;

/**
 * Checks that a message comes from your server and is not an old one sent again, and returns it. `body` is the request's
 * body exactly as it came, not parsed and written anew. Throws `unauthorized` when anything is not right. A message may come
 * twice: its header `webhook-id` is then the same.
 *
 * ```ts
 * async function handle(request: Request): Promise<Response> {
 *   const message = await verifyWebhook(await request.text(), request.headers, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
 *   console.log(message.type, message.data);
 *   return new Response(null, { status: 204 });
 * }
 * ```
 */
export async function verifyWebhook(
  body: string | Uint8Array,
  headers: WebhookHeaders,
  secret: string,
  options: { readonly toleranceMs?: number; readonly now?: number } = {},
): Promise<WebhookMessage> {
  const { toleranceMs = TOLERANCE_MS, now = Date.now() } = options;
  const id = header(headers, "webhook-id");
  const timestamp = header(headers, "webhook-timestamp");
  const signatures = header(headers, "webhook-signature");
  if (!/^\d{1,12}$/.test(timestamp) || Math.abs(now - Number(timestamp) * 1000) > toleranceMs) throw refused("Its time is not now.");
  const keyBytes = secret.startsWith("whsec_") ? fromBase64(secret.slice("whsec_".length)) : undefined;
  if (keyBytes === undefined) throw new CaissonApiError("invalid_argument", "The secret of a webhook is whsec_ and base64.");
  const key = await crypto.subtle.importKey("raw", plain(keyBytes), { name: "HMAC", hash: "SHA-256" }, false, ["verify"]);
  const bytes = typeof body === "string" ? new TextEncoder().encode(body) : body;
  const signed = plain(join(new TextEncoder().encode(`${id}.${timestamp}.`), bytes));
  for (const signature of signatures.split(" ")) {
    const given = signature.startsWith("v1,") ? fromBase64(signature.slice("v1,".length)) : undefined;
    if (given !== undefined && (await crypto.subtle.verify("HMAC", key, plain(given), signed)))
      return JSON.parse(new TextDecoder().decode(bytes)) as WebhookMessage;
  }
  throw refused("Its signature is not by this secret.");
}

function header(headers: WebhookHeaders, name: string): string {
  const value = headers instanceof Headers ? headers.get(name) : headers[name];
  if (typeof value !== "string" || value === "") throw refused(`It has no header ${name}.`);
  return value;
}

function refused(why: string): CaissonApiError {
  return new CaissonApiError("unauthorized", `The message is not to be trusted. ${why}`, {
    remedy: "Answer with 401; check that the secret is this webhook's and that the body is as it came.",
  });
}

function join(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

/** The same bytes in a buffer of their own, as the platform's types want it. */
function plain(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes);
}
