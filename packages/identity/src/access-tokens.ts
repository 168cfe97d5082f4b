import { SCOPES, type Clock, type Scope } from "@caisson/contract";
import { z } from "zod";
import { refused } from "./refusal.ts";
import { signToken, verifyToken } from "./signed-token.ts";
import type { SigningKey, SigningKeySet } from "./signing-key.ts";

const TYPE = "caisson-access+jwt";
/** Checked tokens that are remembered, so that each call does not check the same signature again. */
const REMEMBERED = 4_096;

/** What a client may do in one sandbox, on the worker that runs it, without that worker asking a control plane. */
export interface SandboxAccess {
  /** The worker that it is for; every other one refuses it. */
  readonly workerId: string;
  readonly sandboxId: string;
  /** Epoch of the sandbox's lease: once the sandbox has moved or ended, it opens nothing. */
  readonly epoch: number;
  readonly scopes: readonly Scope[];
  /** Name of the key that it was made with, for the exec log. */
  readonly keyName: string;
  /** End, in ms since the Unix epoch; whole seconds are kept. */
  readonly expiresAt: number;
}

const claimsSchema = z.strictObject({
  aud: z.string(),
  sub: z.string(),
  exp: z.int(),
  epoch: z.int().min(0),
  // A scope that a later version gives is none here.
  allow: z.array(z.string()).transform((all) => all.filter((one): one is Scope => (SCOPES as readonly string[]).includes(one))),
  key: z.string(),
});

/** Signs access for a client: a token that the worker checks with the public keys. */
export function signAccess(signingKey: SigningKey, access: SandboxAccess): Promise<string> {
  const { workerId, sandboxId, epoch, scopes, keyName, expiresAt } = access;
  const claims = { aud: workerId, sub: sandboxId, exp: Math.floor(expiresAt / 1000), epoch, allow: [...scopes], key: keyName };
  return signToken(signingKey, TYPE, claims);
}

/** What a worker checks access with. */
export interface AccessTokensOptions {
  readonly workerId: string;
  /** The public keys of now. */
  readonly keys: () => SigningKeySet;
  /** Wall-clock time of the installation. */
  readonly clock: Pick<Clock, "now">;
}

/** Checks what clients show to a worker. */
export class AccessTokens {
  readonly #options: AccessTokensOptions;
  readonly #checked = new Map<string, SandboxAccess>();
  #checkedBy: SigningKeySet | undefined;

  constructor(options: AccessTokensOptions) {
    this.#options = options;
  }

  /** The access of a token to one sandbox on this worker; `unauthorized` when it is not one, another's, or over. */
  async verify(token: string, sandboxId: string): Promise<SandboxAccess> {
    const { workerId, clock } = this.#options;
    const keys = this.#options.keys();
    if (keys !== this.#checkedBy) {
      this.#checked.clear();
      this.#checkedBy = keys;
    }
    const known = this.#checked.get(token);
    if (known?.sandboxId === sandboxId && known.expiresAt > clock.now()) return known;
    const checks = { audience: workerId, subject: sandboxId, requiredClaims: ["exp"], currentDate: new Date(clock.now()) };
    const parsed = claimsSchema.safeParse(await verifyToken(token, keys, TYPE, checks));
    if (!parsed.success) throw refused("malformed", "The token does not open this.", { cause: parsed.error });
    const { aud, sub, exp, epoch, allow, key } = parsed.data;
    const access = { workerId: aud, sandboxId: sub, epoch, scopes: allow, keyName: key, expiresAt: exp * 1000 };
    if (keys === this.#checkedBy) this.#remember(token, access);
    return access;
  }

  #remember(token: string, access: SandboxAccess): void {
    if (this.#checked.size >= REMEMBERED) {
      const oldest = this.#checked.keys().next();
      if (oldest.done !== true) this.#checked.delete(oldest.value);
    }
    this.#checked.set(token, access);
  }
}
