import { readFileSync } from "node:fs";
import { join } from "node:path";

/** The server of a data folder, as it wrote itself down. */
export interface ServerFile {
  readonly url: string;
  readonly pid: number;
}

/** The keys of a data folder, mode 0600. */
export interface CredentialsFile {
  readonly api_key: string;
  readonly admin_api_key: string;
}

/** Where a server writes its address. */
export function serverFilePath(dataDir: string): string {
  return join(dataDir, "server.json");
}

/** Where the keys made at the first start are. */
export function credentialsPath(dataDir: string): string {
  return join(dataDir, "credentials.json");
}

/** The server that was started last in a data folder; it may be down. */
export function readServerFile(dataDir: string): ServerFile | undefined {
  const found = readJson(serverFilePath(dataDir));
  return typeof found?.url === "string" && typeof found.pid === "number" ? { url: found.url, pid: found.pid } : undefined;
}

/** The keys of a data folder; undefined when there are none, or this user may not read them. */
export function readCredentials(dataDir: string): CredentialsFile | undefined {
  const found = readJson(credentialsPath(dataDir));
  if (typeof found?.api_key !== "string" || typeof found.admin_api_key !== "string") return undefined;
  return { api_key: found.api_key, admin_api_key: found.admin_api_key };
}

function readJson(path: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(path, "utf8"));
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined; // absent, unreadable or broken: the caller goes on without
  }
}
