import { CaissonError } from "@caisson/contract";
import { z } from "zod";
import { makeSigningKey, signingKeySchema, type SigningKey } from "./signing-key.ts";

/** Under which name the installation keeps its signing keys. */
export const SIGNING_KEYS = "signing_keys";

/**
 * The keys of the installation: the first signs, all of them verify. So one can follow another: the new one is added behind
 * the old one, and comes first when every machine has learnt it.
 */
export type SigningKeys = readonly [SigningKey, ...SigningKey[]];

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
