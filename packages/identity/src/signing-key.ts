import { calculateJwkThumbprint, exportJWK, generateKeyPair, importJWK, type CryptoKey, type JWK } from "jose";
import { z } from "zod";

/** A key of the installation that signs tokens, as it is kept. */
export interface SigningKey {
  /** Thumbprint of the public key. */
  readonly kid: string;
  readonly jwk: { readonly kty: "OKP"; readonly crv: "Ed25519"; readonly x: string; readonly d: string };
  /** When it was made, in ms since the Unix epoch. */
  readonly created_at: number;
}

const privateJwkSchema = z.object({ kty: z.literal("OKP"), crv: z.literal("Ed25519"), x: z.string().length(43), d: z.string().length(43) });

export const signingKeySchema: z.ZodType<SigningKey> = z.object({
  kid: z.string().min(1).max(64),
  jwk: privateJwkSchema,
  created_at: z.int(),
});

/** Public keys as a JWK set: what somebody needs who checks tokens. */
export interface PublicKeySet {
  readonly keys: readonly Record<string, unknown>[];
}

const publicJwkSchema = z.object({ kty: z.literal("OKP"), crv: z.literal("Ed25519"), x: z.string().length(43), kid: z.string().max(64) });

/** Makes a key for EdDSA over Ed25519. */
export async function makeSigningKey(now: number): Promise<SigningKey> {
  const { privateKey } = await generateKeyPair("EdDSA", { extractable: true });
  const jwk = privateJwkSchema.parse(await exportJWK(privateKey));
  return { kid: await calculateJwkThumbprint(jwk), jwk, created_at: now };
}

/** The public halves of keys. */
export function publicKeySet(keys: readonly SigningKey[]): PublicKeySet {
  return { keys: keys.map(({ kid, jwk: { kty, crv, x } }) => ({ kty, crv, x, kid, alg: "EdDSA", use: "sig" })) };
}

/** Keys that may verify, by their id. What is in a set and is not such a key is passed over. */
export class SigningKeySet {
  readonly #keys = new Map<string, Promise<CryptoKey | Uint8Array>>();

  constructor(set: PublicKeySet) {
    for (const entry of set.keys.slice(0, 16)) {
      const found = publicJwkSchema.safeParse(entry);
      if (!found.success) continue;
      const { kid, ...jwk } = found.data;
      const key = importJWK(jwk satisfies JWK, "EdDSA");
      key.catch(() => undefined); // told to who asks for it
      this.#keys.set(kid, key);
    }
  }

  /** Whether nothing can be verified. */
  get empty(): boolean {
    return this.#keys.size === 0;
  }

  /** The key with this id; undefined when there is none, or it is no key. */
  get(kid: string): Promise<CryptoKey | Uint8Array | undefined> {
    return this.#keys.get(kid)?.catch(() => undefined) ?? Promise.resolve(undefined);
  }
}
