import type { Clock } from "@caisson/contract";
import { z } from "zod";
import { TOKEN_ACTIONS, type Grant, type GrantSigner, type GrantVerifier, type TokenAction } from "./grant.ts";
import type { LegacyGrants } from "./legacy-grants.ts";
import { refused } from "./refusal.ts";
import { keyIdOf, signToken, verifyToken } from "./signed-token.ts";
import type { SigningKey, SigningKeySet } from "./signing-key.ts";

const TYPE = "caisson-grant+jwt";

const claimsSchema = z.strictObject({
  aud: z.enum(TOKEN_ACTIONS),
  sub: z.string(),
  exp: z.int(),
  path: z.string().optional(),
  user: z.string().optional(),
  port: z.int().optional(),
});

/** The grant that checked claims describe; `unauthorized` for claims that are not a grant's. */
export function grantOf(claims: unknown): Grant {
  const parsed = claimsSchema.safeParse(claims);
  if (!parsed.success) throw refused("malformed", "The token does not open this.", { cause: parsed.error });
  const { aud, sub, exp, path, user, port } = parsed.data;
  return {
    action: aud,
    sandboxId: sub,
    expiresAt: exp * 1000,
    ...(path === undefined ? {} : { path }),
    ...(user === undefined ? {} : { user }),
    ...(port === undefined ? {} : { port }),
  };
}

/** Signs grants: tokens that any machine with the installation's public keys can check. */
export class SignedGrants implements GrantSigner {
  readonly #key: SigningKey;

  constructor(key: SigningKey) {
    this.#key = key;
  }

  sign({ action, sandboxId, expiresAt, ...bounds }: Grant): Promise<string> {
    return signToken(this.#key, TYPE, { ...bounds, aud: action, sub: sandboxId, exp: Math.floor(expiresAt / 1000) });
  }
}

/** What grants are checked with. */
export interface CheckedGrantsOptions {
  /** The public keys of now; `wanted` is the id of the one that a token says it was signed with. */
  readonly keys: (wanted?: string) => SigningKeySet | Promise<SigningKeySet>;
  readonly clock: Pick<Clock, "now">;
  /** Links of the time before the installation had public keys. */
  readonly legacy?: Pick<LegacyGrants, "verify">;
}

/** Checks grants by the installation's public keys; those of old by the key that signed them, while they can still be good. */
export class CheckedGrants implements GrantVerifier {
  readonly #options: CheckedGrantsOptions;

  constructor(options: CheckedGrantsOptions) {
    this.#options = options;
  }

  async verify(token: string, action: TokenAction, sandboxId: string): Promise<Grant> {
    const { keys, clock, legacy } = this.#options;
    const now = clock.now();
    // Which key is tried is decided by what the token lacks, and each key takes its own algorithm alone.
    const wanted = keyIdOf(token);
    if (legacy !== undefined && wanted === undefined) return legacy.verify(token, action, sandboxId, now);
    const checks = { audience: action, subject: sandboxId, requiredClaims: ["exp"], currentDate: new Date(now) };
    return grantOf(await verifyToken(token, await keys(wanted), TYPE, checks));
  }
}
