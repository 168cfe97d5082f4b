import { CaissonError, type Config, type Random } from "@caisson/contract";
import { hashKey, type Store } from "@caisson/store";
import { credentialsPath, readCredentials, type CredentialsFile } from "../client/local-server.ts";
import { writePrivateFile } from "./write-file.ts";

/** The keys in force, and where they come from. */
export interface Credentials extends CredentialsFile {
  /** File with the keys that were made here; undefined when all are configured. */
  readonly file: string | undefined;
}

/** Configured keys, else the ones made at the first start. What is made is written down for this machine's own commands. */
export function openCredentials(dataDir: string, auth: Config["auth"], random: Random): Credentials {
  const { api_key: apiKey, admin_api_key: adminKey } = auth;
  if (apiKey !== undefined && adminKey !== undefined) return refuseEqual({ api_key: apiKey, admin_api_key: adminKey, file: undefined });
  const file = credentialsPath(dataDir);
  let made = readCredentials(dataDir);
  if (made === undefined) {
    made = { api_key: newKey("cak", random), admin_api_key: newKey("caa", random) };
    writePrivateFile(file, `${JSON.stringify(made, undefined, 2)}\n`);
  }
  return refuseEqual({ api_key: apiKey ?? made.api_key, admin_api_key: adminKey ?? made.admin_api_key, file });
}

/** Writes the hashes of the keys in force to the store; what was in force before no longer is. */
export async function storeKeys(store: Store, credentials: Credentials, auth: Config["auth"], now: number): Promise<void> {
  const apiRole = auth.admin_fallback_enabled ? "admin" : "api";
  await store.keys.put({ id: "api", name: "api", role: apiRole, hash: hashKey(credentials.api_key), createdAt: now });
  await store.keys.put({ id: "admin", name: "admin", role: "admin", hash: hashKey(credentials.admin_api_key), createdAt: now });
}

/** 256 random bits behind a prefix that tells what it is. */
function newKey(prefix: string, random: Random): string {
  return `${prefix}_${Buffer.from(random.bytes(32)).toString("base64url")}`;
}

function refuseEqual(credentials: Credentials): Credentials {
  if (credentials.api_key !== credentials.admin_api_key) return credentials;
  throw new CaissonError("invalid_request", "auth.api_key and auth.admin_api_key are the same.", {
    detail: { remedy: "Give the admin key a value of its own, or leave it out; set auth.admin_fallback_enabled to let one key do all." },
  });
}
