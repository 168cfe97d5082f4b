import { SCOPES, type Scope } from "@caisson/contract";
import { z } from "zod";
import { MAX_PRESENTED, refused } from "./refusal.ts";
import { signToken, verifyToken } from "./signed-token.ts";
import type { SigningKey, SigningKeySet } from "./signing-key.ts";

const TYPE = "caisson-control+jwt";
/** For how long it says to be good, in seconds. Workers go by their nonce instead, which needs no clock. */
const LIFE_S = 60;

/** What a control plane may do that dials a worker: all that workers offer. */
const CONTROL_SCOPES: readonly Scope[] = SCOPES.filter((scope) => scope !== "worker:heartbeat" && scope !== "worker:lease");

/** A control plane that a worker let in. */
export interface ControlToken {
  /** The installation. */
  readonly issuer: string;
  readonly scopes: ReadonlySet<Scope>;
}

const claimsSchema = z.object({ iss: z.string().max(256), nonce: z.string().max(256), scopes: z.array(z.enum(SCOPES)).max(SCOPES.length) });

const audienceOf = (workerId: string): string => `worker:${workerId}`;

/** What a control plane shows to a worker that it dials: good for this worker and this nonce of its alone. */
export function signControlToken(
  key: SigningKey,
  { issuer, workerId, nonce, now }: { readonly issuer: string; readonly workerId: string; readonly nonce: string; readonly now: number },
): Promise<string> {
  const iat = Math.floor(now / 1000);
  return signToken(key, TYPE, {
    iss: issuer,
    aud: audienceOf(workerId),
    sub: "control",
    nonce,
    scopes: [...CONTROL_SCOPES],
    iat,
    exp: iat + LIFE_S,
  });
}

/**
 * Checks what a control plane showed to a worker. `issuer` is the worker's own installation, undefined while it knows none.
 * Freshness comes from `takeNonce`, which says once of a nonce of the worker's that it is good: the worker's clock may be wrong.
 */
export async function verifyControlToken(
  token: string,
  keys: SigningKeySet,
  {
    issuer,
    workerId,
    takeNonce,
  }: { readonly issuer: string | undefined; readonly workerId: string; readonly takeNonce: (nonce: string) => boolean },
): Promise<ControlToken> {
  if (keys.empty)
    throw refused("unknown_key", "This worker has not yet learnt the keys of its control planes: it must reach one of them first.");
  if (token.length > MAX_PRESENTED) throw refused("malformed", `The token is longer than ${MAX_PRESENTED} characters.`);
  const payload = await verifyToken(token, keys, TYPE, {
    audience: audienceOf(workerId),
    subject: "control",
    ...(issuer === undefined ? {} : { issuer }),
    requiredClaims: ["exp", "nonce"],
    // Its own time: the signature covers a nonce that this worker gave out within the last minute.
    currentDate: new Date(0),
  });
  const claims = claimsSchema.safeParse(payload);
  if (!claims.success) throw refused("malformed", "The token lacks what a control plane's token says.");
  if (!takeNonce(claims.data.nonce)) throw refused("nonce_invalid", "The token is not over a nonce of this worker, or that was used.");
  return { issuer: claims.data.iss, scopes: new Set(claims.data.scopes) };
}
