import { CaissonError } from "@caisson/contract";
import { z } from "zod";
import { makeSigningKey, publicKeySet, signingKeySchema, SigningKeySet, type SigningKey } from "./signing-key.ts";

/** Under which name the installation keeps its signing keys. */
export const SIGNING_KEYS = "signing_keys";

/** The keys of the installation, oldest first. All of them verify; a new one signs when every machine had the time to learn it. */
export type SigningKeys = readonly [SigningKey, ...SigningKey[]];

/** Where whoever signs or checks gets the keys of now: they follow one another. */
export interface SigningKeySource {
  /** The key to sign with. */
  signingKey(): Promise<SigningKey>;
  /** The keys that verify; with the id of a key, after a look for it where it is not known yet. */
  verifyingKeys(wanted?: string): Promise<SigningKeySet>;
}

/** Keys that stay what they are: the first signs, all of them verify. */
export function fixedKeys(keys: SigningKeys): SigningKeySource {
  const set = new SigningKeySet(publicKeySet(keys));
  return { signingKey: () => Promise.resolve(keys[0]), verifyingKeys: () => Promise.resolve(set) };
}

const keptSchema = z.array(signingKeySchema).min(1).max(8);

/** New keys, in the form that is kept. */
export async function newSigningKeys(now: number): Promise<string> {
  return JSON.stringify([await makeSigningKey(now)]);
}

/** Keys as they were kept; `internal` for what is none. */
export function readSigningKeys(kept: string): SigningKeys {
  try {
    return keptSchema.parse(JSON.parse(kept)) as unknown as SigningKeys;
  } catch {
    // What was read is a secret: it stays out of the error.
    throw new CaissonError("internal", "The installation's signing keys cannot be read.");
  }
}
