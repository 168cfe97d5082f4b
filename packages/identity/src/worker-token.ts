import { SCOPES, workerIdSchema, type Scope } from "@caisson/contract";
import { z } from "zod";
import { refused } from "./refusal.ts";
import { signToken, verifyToken } from "./signed-token.ts";
import type { SigningKey, SigningKeySet } from "./signing-key.ts";

const TYPE = "caisson-worker+jwt";
/** Who takes workers' tokens: every control plane of the installation that issued it. */
const AUDIENCE = "caisson:control";

/** How far the clocks of two control planes may be apart, in seconds. */
const TOLERANCE_S = 60;

/** What the token of a registered worker says. Times are ms since the Unix epoch. */
export interface WorkerToken {
  /** The installation. */
  readonly issuer: string;
  readonly workerId: string;
  readonly scopes: readonly Scope[];
  readonly id: string;
  /** Id of the refresh token that was issued beside it. */
  readonly refreshId: string;
  /** Thumbprints of the worker's key and certificate: it is worth nothing without that key. */
  readonly keyThumbprint: string;
  readonly certificateThumbprint: string;
  readonly issuedAt: number;
  readonly expiresAt: number;
}

const claimsSchema = z.object({
  iss: z.string(),
  sub: workerIdSchema,
  scopes: z.array(z.enum(SCOPES)).max(SCOPES.length),
  jti: z.string().max(64),
  rid: z.string().max(64),
  cnf: z.object({ jkt: z.string().length(43), "x5t#S256": z.string().length(43) }),
  iat: z.number(),
  exp: z.number(),
});

/** Signs a worker's token. */
export function signWorkerToken(key: SigningKey, token: WorkerToken): Promise<string> {
  // Thousandths of a second count: what was issued just after a revocation is good.
  const iat = token.issuedAt / 1000;
  return signToken(key, TYPE, {
    iss: token.issuer,
    aud: AUDIENCE,
    sub: token.workerId,
    scopes: [...token.scopes],
    jti: token.id,
    rid: token.refreshId,
    cnf: { jkt: token.keyThumbprint, "x5t#S256": token.certificateThumbprint },
    iat,
    nbf: Math.floor(iat) - TOLERANCE_S,
    exp: token.expiresAt / 1000,
  });
}

/** What a worker's token says, if this installation signed it and it is good at `now`. Throws `unauthorized` with a reason of its own for each way to be wrong. */
export async function verifyWorkerToken(
  token: string,
  keys: SigningKeySet,
  { issuer, now }: { readonly issuer: string; readonly now: number },
): Promise<WorkerToken> {
  const payload = await verifyToken(token, keys, TYPE, {
    issuer,
    audience: AUDIENCE,
    requiredClaims: ["sub", "iat", "nbf", "exp", "jti", "rid", "cnf"],
    currentDate: new Date(now),
  });
  const found = claimsSchema.safeParse(payload);
  if (!found.success) throw refused("malformed", "The token lacks what a worker's token says.");
  const { data } = found;
  return {
    issuer: data.iss,
    workerId: data.sub,
    scopes: data.scopes,
    id: data.jti,
    refreshId: data.rid,
    keyThumbprint: data.cnf.jkt,
    certificateThumbprint: data.cnf["x5t#S256"],
    issuedAt: Math.round(data.iat * 1000),
    expiresAt: Math.round(data.exp * 1000),
  };
}
