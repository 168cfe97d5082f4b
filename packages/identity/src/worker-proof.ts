import { createPublicKey } from "node:crypto";
import { CompactSign, compactVerify, decodeProtectedHeader } from "jose";
import { z } from "zod";
import { MAX_PRESENTED, refused } from "./refusal.ts";
import { algorithmOf, keyThumbprint, publicJwkOf, readWorkerKey, WORKER_ALGORITHMS } from "./worker-key.ts";

const TYPE = "caisson-proof+jwt";

/** What a worker signs to show that it holds its key. There is no time in it: the nonce is what makes it fresh. */
export interface ProofClaims {
  readonly nonce: string;
  /** The installation it is for. */
  readonly aud: string;
  /** Id of the worker. */
  readonly wid: string;
}

const claimsSchema = z.strictObject({ nonce: z.string().max(256), aud: z.string().max(256), wid: z.string().max(64) });
const headerSchema = z.object({
  alg: z.enum(WORKER_ALGORITHMS),
  typ: z.literal(TYPE),
  jwk: z.union([
    z.strictObject({ kty: z.literal("EC"), crv: z.literal("P-256"), x: z.string().length(43), y: z.string().length(43) }),
    z.strictObject({ kty: z.literal("OKP"), crv: z.literal("Ed25519"), x: z.string().length(43) }),
  ]),
});

/** Signs a proof with a worker's private key (PEM). */
export function signProof(privateKey: string, claims: ProofClaims): Promise<string> {
  const key = readWorkerKey(privateKey);
  const header = { alg: algorithmOf(key), typ: TYPE, jwk: publicJwkOf(key) };
  return new CompactSign(Buffer.from(JSON.stringify(claims))).setProtectedHeader(header).sign(key);
}

/** The claims of a proof that the key with this thumbprint signed. Throws `unauthorized` for all else. */
export async function verifyProof(proof: string, thumbprint: string): Promise<ProofClaims> {
  if (proof.length > MAX_PRESENTED) throw refused("proof_invalid", `The proof is longer than ${MAX_PRESENTED} characters.`);
  try {
    const { alg, jwk } = headerSchema.parse(decodeProtectedHeader(proof));
    const key = createPublicKey({ key: jwk, format: "jwk" });
    if ((await keyThumbprint(key)) !== thumbprint)
      throw refused("key_mismatch", "The proof was made with another key than the token is bound to.");
    const { payload } = await compactVerify(proof, key, { algorithms: [alg] });
    return claimsSchema.parse(JSON.parse(Buffer.from(payload).toString("utf8")));
  } catch (cause) {
    if (cause instanceof Error && cause.name === "CaissonError") throw cause;
    throw refused("proof_invalid", "The proof is not one, or its signature is wrong.", { cause });
  }
}
