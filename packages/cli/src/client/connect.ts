import type { Config } from "@caisson/contract";
import { Caisson, DEFAULT_URL } from "@caisson/sdk";
import { loadConfig } from "../config/load-config.ts";
import { resolveDataDir } from "../config/data-dir.ts";
import type { CommonOptions } from "../program/leaf.ts";
import { readCredentials, readServerFile } from "./local-server.ts";

/**
 * The server that a command talks to: by flag, by variable, else the one on this machine, with its keys. Keys of this machine
 * are never sent to another address.
 */
export function connect(options: CommonOptions, rights: { readonly admin?: true } = {}): Caisson {
  const { adminKey, ...target } = findServer(options);
  return new Caisson({ ...target, ...(rights.admin ? { adminApiKey: adminKey } : {}) });
}

/** Where the server is, and the keys for it. */
export interface Target {
  readonly url: string;
  readonly apiKey: string | undefined;
  readonly adminKey: string | undefined;
}

/** Finds the server as `connect` does. */
export function findServer(options: CommonOptions): Target {
  const env = process.env;
  const config = loadConfig({ path: options.config, env });
  const dataDir = resolveDataDir(config);
  // One that is down is looked for where the configuration has it.
  const localUrl = readServerFile(dataDir)?.url ?? configuredUrl(config.server);
  const url = options.url ?? (env.CAISSON_URL || localUrl);
  const local = sameAddress(url, localUrl);
  const stored = local ? readCredentials(dataDir) : undefined;
  const configured = local ? config.auth : undefined;
  const apiKey = options.apiKey ?? (env.CAISSON_API_KEY || (configured?.api_key ?? stored?.api_key));
  const adminKey = env.CAISSON_ADMIN_API_KEY || (configured?.admin_api_key ?? stored?.admin_api_key);
  return { url, apiKey, adminKey };
}

/** Where this machine reaches a server with this configuration; the default where only the server knows its port. */
function configuredUrl({ host, port, tls }: Config["server"]): string {
  if (port === 0) return DEFAULT_URL;
  const near = host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host;
  return `${tls.cert_file === undefined ? "http" : "https"}://${near.includes(":") ? `[${near}]` : near}:${port}`;
}

function sameAddress(a: string, b: string): boolean {
  return URL.canParse(a) && URL.canParse(b) && new URL(a).origin === new URL(b).origin;
}
