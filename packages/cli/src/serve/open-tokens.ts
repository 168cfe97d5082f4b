import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { CaissonError, type Clock } from "@caisson/contract";
import { InstallationTokens, keepLegacyKey, LEGACY_GRANT_KEY, LegacyGrants, type SigningKeySource } from "@caisson/identity";
import type { Store } from "@caisson/store";

/** Bytes of the key that signed links before the installation had public keys. */
const LEGACY_BYTES = 32;

/** What tokens are opened with. */
export interface TokensOptions {
  readonly store: Store;
  readonly dataDir: string;
  readonly clock: Pick<Clock, "now">;
  readonly keys: SigningKeySource;
}

/** Signs and checks tokens for clients. Links that an earlier version gave out hold until their time: its key is taken over. */
export async function openTokens({ store, dataDir, clock, keys }: TokensOptions): Promise<InstallationTokens> {
  const legacy = await takeOverLegacyKey(store, join(dataDir, "signing.key"), clock.now());
  return new InstallationTokens({ keys, clock, ...(legacy === undefined ? {} : { legacy }) });
}

/** Moves the old key to where all control planes find it; its file is removed when nothing it signed can be good any more. */
async function takeOverLegacyKey(store: Store, file: string, now: number): Promise<Pick<LegacyGrants, "verify"> | undefined> {
  const kept = existsSync(file)
    ? await store.clusterSecrets.getOrMake(LEGACY_GRANT_KEY, () => keepLegacyKey(readLegacyKey(file), now))
    : await store.clusterSecrets.get(LEGACY_GRANT_KEY);
  if (kept === undefined) return undefined;
  // Read each time: it may be ended before its time, on every control plane.
  if (now < new LegacyGrants(kept).until)
    return { verify: async (...asked) => new LegacyGrants((await store.clusterSecrets.get(LEGACY_GRANT_KEY)) ?? kept).verify(...asked) };
  rmSync(file, { force: true });
  return undefined;
}

function readLegacyKey(file: string): Uint8Array {
  const key = Buffer.from(readFileSync(file, "utf8").trim(), "base64url");
  if (key.length === LEGACY_BYTES) return key;
  throw new CaissonError("invalid_request", `${file} does not hold a key.`, {
    detail: { remedy: "Remove it; links that an earlier version gave out no longer work then." },
  });
}
