import { createHash, timingSafeEqual } from "node:crypto";
import type { Random } from "@caisson/contract";

/** 256 random bits behind a prefix that tells what it opens. */
export function newSecret(prefix: string, random: Random): string {
  return `${prefix}_${Buffer.from(random.bytes(32)).toString("base64url")}`;
}

/** SHA-256 of a secret, hex: the form in which secrets are kept. They are long and random, so a plain hash is enough. */
export function hashSecret(secret: string): string {
  return createHash("sha256").update(secret, "utf8").digest("hex");
}

/** Whether two secrets are the same, in a time that tells nothing of either. */
export function sameSecret(one: string, other: string): boolean {
  const digest = (text: string): Buffer => createHash("sha256").update(text, "utf8").digest();
  return timingSafeEqual(digest(one), digest(other));
}
