import { decodeProtectedHeader, errors, importJWK, jwtVerify, SignJWT, type JWTPayload, type JWTVerifyOptions } from "jose";
import { MAX_PRESENTED, refused } from "./refusal.ts";
import type { SigningKey, SigningKeySet } from "./signing-key.ts";

/** Signs claims with a key of the installation. Times in the claims are seconds, fractions allowed. */
export async function signToken(key: SigningKey, type: string, claims: JWTPayload): Promise<string> {
  return new SignJWT(claims).setProtectedHeader({ alg: "EdDSA", kid: key.kid, typ: type }).sign(await importJWK(key.jwk, "EdDSA"));
}

/** The claims of a token that one of these keys signed. Each way to be wrong has a reason of its own. */
export async function verifyToken(token: string, keys: SigningKeySet, type: string, options: JWTVerifyOptions): Promise<JWTPayload> {
  if (token.length > MAX_PRESENTED) throw refused("malformed", `The token is longer than ${MAX_PRESENTED} characters.`);
  const header = headerOf(token);
  if (header.alg !== "EdDSA") throw refused("wrong_algorithm", "The token is not signed with EdDSA; nothing else is taken.");
  if (header.typ !== type) throw refused("wrong_type", "The token was made for something else.");
  const key = typeof header.kid === "string" ? await keys.get(header.kid) : undefined;
  if (key === undefined) throw refused("unknown_key", "The token was signed with a key that this installation does not have.");
  try {
    return (await jwtVerify(token, key, { ...options, algorithms: ["EdDSA"] })).payload;
  } catch (error) {
    throw explain(error);
  }
}

/** Id of the key that a token says to be signed with; undefined when it says none. */
export function keyIdOf(token: string): string | undefined {
  const { kid } = token.length > MAX_PRESENTED ? {} : headerOf(token);
  return typeof kid === "string" ? kid : undefined;
}

function headerOf(token: string): { alg?: unknown; typ?: unknown; kid?: unknown } {
  try {
    return decodeProtectedHeader(token);
  } catch (cause) {
    throw refused("malformed", "The token is not a JSON Web Token.", { cause });
  }
}

function explain(cause: unknown): Error {
  if (cause instanceof errors.JWTExpired) return refused("expired", "The token's time is over.", { cause });
  if (cause instanceof errors.JWSSignatureVerificationFailed) return refused("bad_signature", "The token's signature is wrong.", { cause });
  if (cause instanceof errors.JWTClaimValidationFailed) {
    if (cause.claim === "iss") return refused("other_issuer", "The token was issued by another installation.", { cause });
    if (cause.claim === "aud") return refused("wrong_audience", "The token was issued for another audience.", { cause });
    if (cause.claim === "nbf" || cause.claim === "iat") return refused("not_yet", "The token's time has not come.", { cause });
    if (cause.claim === "sub") return refused("wrong_worker", "The token belongs to somebody else.", { cause });
  }
  return refused("malformed", "The token is malformed.", { cause });
}
