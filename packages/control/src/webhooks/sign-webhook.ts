import { createHmac } from "node:crypto";
import type { Random } from "@caisson/contract";

/** What a secret begins with. */
const PREFIX = "whsec_";
const SECRET_BYTES = 32;

/** A fresh secret. */
export function newWebhookSecret(random: Random): string {
  return PREFIX + Buffer.from(random.bytes(SECRET_BYTES)).toString("base64");
}

/** The headers of a message, signed as the Standard Webhooks specification says, by each secret that is valid now. */
export function signWebhook(id: string, nowMs: number, body: string, secrets: readonly string[]): Readonly<Record<string, string>> {
  const timestamp = String(Math.floor(nowMs / 1000));
  const signatures = secrets.map((secret) => {
    const key = Buffer.from(secret.slice(PREFIX.length), "base64");
    return `v1,${createHmac("sha256", key).update(`${id}.${timestamp}.${body}`).digest("base64")}`;
  });
  return { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signatures.join(" ") };
}
