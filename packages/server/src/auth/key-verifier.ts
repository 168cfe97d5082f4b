import { createHash, timingSafeEqual } from "node:crypto";

/** What a key may do: `admin` may do all, `api` all but administration. */
export type Role = "api" | "admin";

/** Who calls: the role and the name of the key, never the key. */
export interface Caller {
  readonly role: Role;
  /** Name of the key, for logs. */
  readonly name: string;
}

/** Decides whose key it is. */
export interface KeyVerifier {
  /** The caller whose key this is; undefined when it is nobody's. */
  verify(key: string): Promise<Caller | undefined>;
}

/** A key as it is kept: only its hash. */
export interface HashedKey extends Caller {
  /** SHA-256 of the key, in hex. */
  readonly sha256: string;
}

/** A verifier over hashed keys. Its time does not depend on which key matches, nor on how much of one. */
export function createKeyVerifier(keys: readonly HashedKey[]): KeyVerifier {
  const known = keys.map(({ role, name, sha256 }) => ({ caller: { role, name } satisfies Caller, hash: Buffer.from(sha256, "hex") }));
  return {
    verify: (key) => {
      const hash = createHash("sha256").update(key, "utf8").digest();
      let caller: Caller | undefined;
      for (const entry of known) if (entry.hash.length === hash.length && timingSafeEqual(entry.hash, hash)) caller = entry.caller;
      return Promise.resolve(caller);
    },
  };
}
