import { rmSync } from "node:fs";
import { CaissonError, type Config, type Random } from "@caisson/contract";
import { hashSecret, newSecret } from "@caisson/identity";
import type { KeyRole, Store } from "@caisson/store";
import { credentialsPath, readCredentials, type CredentialsFile } from "../client/local-server.ts";
import { writePrivateFile } from "./write-file.ts";

/** Where the keys in force are. */
export interface Credentials {
  /** File with the keys that were made here; undefined when all are configured, or another control plane made them. */
  readonly file: string | undefined;
  /** All are in the configuration. */
  readonly configured: boolean;
}

/** What keys are agreed on with. */
export interface AgreeOnKeys {
  readonly store: Store;
  readonly dataDir: string;
  readonly auth: Config["auth"];
  readonly random: Random;
  /** Time of the store, in ms. */
  readonly now: number;
  /** Other control planes use the same database: keys that are there already stay, unless others are configured. */
  readonly shared: boolean;
}

/**
 * Puts the hashes of the keys in force into the store: the configured ones, else those that were made at the first start, of
 * this control plane or another one. What is made is written down for this machine's own commands. Of a database that is
 * shared, the keys of whoever was first are in force; only he has them in a file.
 */
export async function agreeOnKeys({ store, dataDir, auth, random, now, shared }: AgreeOnKeys): Promise<Credentials> {
  const { api_key: apiKey, admin_api_key: adminKey } = auth;
  const configured = apiKey !== undefined && adminKey !== undefined;
  const file = credentialsPath(dataDir);
  const kept = configured ? undefined : readCredentials(dataDir);
  const made: CredentialsFile = kept ?? { api_key: newSecret("cak", random), admin_api_key: newSecret("caa", random) };
  const keys = [
    { id: "api", given: apiKey, made: made.api_key, role: auth.admin_fallback_enabled ? "admin" : "api" },
    { id: "admin", given: adminKey, made: made.admin_api_key, role: "admin" },
  ] as const satisfies readonly { id: string; given: string | undefined; made: string; role: KeyRole }[];
  refuseEqual(apiKey ?? made.api_key, adminKey ?? made.admin_api_key);

  // Before the store: a crash between the two must not leave keys in force that nobody has.
  if (!configured && kept === undefined) writePrivateFile(file, `${JSON.stringify(made, undefined, 2)}\n`);
  let ours = true;
  for (const one of keys) {
    const key = { id: one.id, name: one.id, role: one.role, hash: hashSecret(one.given ?? one.made), createdAt: now };
    if (one.given !== undefined || !shared) {
      await store.keys.put(key);
      continue;
    }
    // Somebody else may be the first in the same moment: what is there afterwards counts.
    const inForce = await store.keys.putFirst(key);
    if (inForce.role !== one.role) await store.keys.put({ ...inForce, role: one.role });
    ours &&= inForce.hash === key.hash;
  }
  if (!ours && kept === undefined) rmSync(file);
  return { file: configured || !ours ? undefined : file, configured };
}

function refuseEqual(apiKey: string, adminKey: string): void {
  if (apiKey !== adminKey) return;
  throw new CaissonError("invalid_request", "auth.api_key and auth.admin_api_key are the same.", {
    detail: { remedy: "Give the admin key a value of its own, or leave it out; set auth.admin_fallback_enabled to let one key do all." },
  });
}
