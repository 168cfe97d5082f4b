import { createHmac, timingSafeEqual } from "node:crypto";
import type { Random } from "@caisson/contract";
import { refused } from "./refusal.ts";

/** How long a nonce can be used, in ms by the clock of who made it. */
export const LINK_NONCE_MS = 60_000;

/** What a nonce looks like: time in base 36, randomness, seal. */
const NONCE = /^([0-9a-z]{1,11})\.([A-Za-z0-9_-]{22})\.([A-Za-z0-9_-]{43})$/;

/** A nonce that everybody who has the secret can check without having seen it before. */
export function newNonce(secret: Uint8Array, now: number, random: Random): string {
  const body = `${Math.floor(now).toString(36)}.${Buffer.from(random.bytes(16)).toString("base64url")}`;
  return `${body}.${seal(secret, body).toString("base64url")}`;
}

/** Throws unless the nonce was made with this secret within the last minute. Whether it was used is for the caller to know. */
export function checkNonce(secret: Uint8Array, nonce: string, now: number): void {
  const parts = nonce.length > 128 ? null : NONCE.exec(nonce);
  const [, time = "", random = "", mark = ""] = parts ?? [];
  const right = parts !== null && timingSafeEqual(seal(secret, `${time}.${random}`), Buffer.from(mark, "base64url"));
  if (!right) throw refused("nonce_invalid", "The proof is not over a nonce of this installation; ask for a new one.");
  const age = now - Number.parseInt(time, 36);
  // Clocks of control planes follow the database's; a second of difference is no reason to refuse.
  if (age > LINK_NONCE_MS || age < -LINK_NONCE_MS) throw refused("nonce_expired", "The nonce of the proof is over; ask for a new one.");
}

function seal(secret: Uint8Array, body: string): Buffer {
  return createHmac("sha256", secret).update(`caisson-link-nonce\n${body}`, "utf8").digest();
}
