import { errors, jwtVerify } from "jose";
import { z } from "zod";
import { grantOf } from "./grant-tokens.ts";
import type { Grant, TokenAction } from "./grant.ts";
import { refused } from "./refusal.ts";

/** Under which name the installation keeps the key that it took over from its time as one server. */
export const LEGACY_GRANT_KEY = "legacy_grant_key";

/** Longest life that a grant signed with the old key had, in ms. */
const LONGEST_MS = 604_800_000;

const keptSchema = z.object({ key: z.base64url(), until: z.int() });

/** An old key as it is kept: good for as long as the last link that was signed with it can be, and no longer. */
export function keepLegacyKey(key: Uint8Array, now: number): string {
  return JSON.stringify({ key: Buffer.from(key).toString("base64url"), until: now + LONGEST_MS });
}

/** What is kept in place of an old key that is good for nothing any more. */
export function endedLegacyKey(random: Uint8Array, now: number): string {
  return keepLegacyKey(random, now - LONGEST_MS);
}

/**
 * Checks grants that were signed with HMAC-SHA256 by one server's own key, before the installation had public keys. None are
 * made any more.
 */
export class LegacyGrants {
  /** From this time on nothing passes, in ms since the Unix epoch. */
  readonly until: number;
  readonly #key: Uint8Array;

  /** Takes a key as `keepLegacyKey` wrote it. */
  constructor(kept: string) {
    const { key, until } = keptSchema.parse(JSON.parse(kept));
    this.#key = Buffer.from(key, "base64url");
    this.until = until;
  }

  /** As `GrantVerifier.verify`, at a time in ms since the Unix epoch. */
  async verify(token: string, action: TokenAction, sandboxId: string, now: number): Promise<Grant> {
    const grant = grantOf(await this.#claims(token, action, sandboxId, now));
    // Nothing that was signed before the key was taken over lasts longer: what does was made with a key that somebody stole.
    if (now >= this.until || grant.expiresAt > this.until)
      throw refused("unknown_key", "The key that signed the token is not in use any more.");
    return grant;
  }

  async #claims(token: string, action: TokenAction, sandboxId: string, now: number): Promise<unknown> {
    try {
      const checks = { audience: action, subject: sandboxId, requiredClaims: ["exp"], currentDate: new Date(now) };
      return (await jwtVerify(token, this.#key, { ...checks, algorithms: ["HS256"] })).payload;
    } catch (cause) {
      if (cause instanceof errors.JWTExpired) throw refused("expired", "The token's time is over.", { cause });
      throw refused("bad_signature", "The token does not open this.", { cause });
    }
  }
}
