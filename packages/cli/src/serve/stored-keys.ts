import type { Clock } from "@caisson/contract";
import { createKeyVerifier, type KeyVerifier } from "@caisson/server";
import type { KeyRepository } from "@caisson/store";

/** How long keys that were read are good, in ms: how late one hears that another control plane has set one. */
const FRESH_MS = 5_000;

/** Verifies by the keys in the store. While the database is away, by those that were read last. */
export async function verifyStoredKeys(keys: KeyRepository, clock: Clock): Promise<KeyVerifier> {
  const read = async (): Promise<KeyVerifier> =>
    createKeyVerifier((await keys.list()).map(({ role, name, hash }) => ({ role, name, sha256: hash })));
  let known = await read();
  let readAt = clock.monotonic();
  let reading: Promise<void> | undefined;
  return {
    verify: async (key) => {
      if (clock.monotonic() - readAt > FRESH_MS) {
        reading ??= read()
          .then(
            (fresh) => {
              known = fresh;
            },
            () => undefined, // those known go on
          )
          .finally(() => {
            readAt = clock.monotonic();
            reading = undefined;
          });
        await reading;
      }
      return known.verify(key);
    },
  };
}
