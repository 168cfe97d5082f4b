import { readFileSync } from "node:fs";
import { CaissonError } from "@caisson/contract";
import type { ClientConfig } from "pg";

/** Where a database is and how to come in. */
export interface Dsn {
  /** One for each host, in the order in which they are named; only `host` and `port` differ. */
  readonly targets: readonly ClientConfig[];
  /** Hosts, ports and database for people; never the password. */
  readonly shown: string;
}

const REMEDY =
  "Write it as postgres://user:password@host:5432/database, several hosts separated by commas; percent-encode what is not plain.";
const PORT = 5432;
const PARAMETERS = ["sslmode", "sslrootcert", "sslcert", "sslkey", "host", "options", "target_session_attrs"];

/**
 * Reads an address: `postgres://user:password@host:port,host:port/database?sslmode=…`. Of several hosts the one that can be
 * written to is used. `sslmode` means what it means to PostgreSQL's own programs: `disable`, `require` (encrypted, nobody is
 * checked), `verify-ca`, `verify-full` (against `sslrootcert`, or the authorities that Node.js knows). `host` is the folder of a
 * Unix socket. `invalid_request` when it cannot be read, or asks for what is not known.
 */
export function parseDsn(dsn: string): Dsn {
  const [, user = "", hosts = "", path = "", search = ""] =
    /^postgres(?:ql)?:\/\/((?:[^@/?#]*@)?)([^/?#]*)(\/[^?#]*)?(?:\?([^#]*))?$/s.exec(dsn.trim()) ?? [];
  if (user === "" && hosts === "" && path === "" && search === "") throw refused("is not one of PostgreSQL");
  const query = new URLSearchParams(search);
  for (const name of query.keys())
    if (!PARAMETERS.includes(name)) throw refused(`has the parameter ${name.slice(0, 40)}, which is not known`);
  if ((query.get("target_session_attrs") ?? "read-write") !== "read-write") throw refused("asks for a database that takes no writes");
  const common = { ...login(user), ...databaseOf(path), ...tls(query), ...optional("options", query.get("options")) };
  const socket = query.get("host");
  const targets =
    socket === null ? hosts.split(",").map((host) => ({ ...common, ...place(host) })) : [{ ...common, host: socket, port: portOf(hosts) }];
  return { targets, shown: `${targets.map(({ host, port }) => `${host}:${port}`).join(",")}${path}` };
}

function login(user: string): ClientConfig {
  if (user === "") return {};
  const [, name = "", password] = /^([^:]*)(?::(.*))?@$/s.exec(user) ?? [];
  return { user: decoded(name), ...(password === undefined ? {} : { password: decoded(password) }) };
}

function databaseOf(path: string): ClientConfig {
  return path.length > 1 ? { database: decoded(path.slice(1)) } : {};
}

function place(host: string): { host: string; port: number } {
  const [, bracketed, plain, port] = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]*))(?::(\d{1,5}))?$/.exec(host) ?? [];
  if (bracketed === undefined && plain === undefined) throw refused("has a host that cannot be read");
  return { host: bracketed ?? (plain === undefined || plain === "" ? "localhost" : decoded(plain)), port: Number(port ?? PORT) };
}

function portOf(hosts: string): number {
  return Number(/:(\d{1,5})$/.exec(hosts)?.[1] ?? PORT);
}

function tls(query: URLSearchParams): Pick<ClientConfig, "ssl"> {
  const files = { ...file(query, "sslrootcert", "ca"), ...file(query, "sslcert", "cert"), ...file(query, "sslkey", "key") };
  const mode = query.get("sslmode") ?? ("ca" in files ? "verify-full" : undefined);
  // As with PostgreSQL's own programs, authorities that are named are checked against, whatever the mode.
  const checked = { ...files, rejectUnauthorized: true };
  switch (mode) {
    case undefined:
    case "disable":
      return { ssl: false };
    case "require":
      return { ssl: "ca" in files ? { ...checked, checkServerIdentity: anyName } : { ...files, rejectUnauthorized: false } };
    case "verify-ca":
      return { ssl: { ...checked, checkServerIdentity: anyName } };
    case "verify-full":
      return { ssl: checked };
    default:
      throw refused(`has the sslmode ${mode.slice(0, 20)}; there are disable, require, verify-ca and verify-full`);
  }
}

function file<Name extends string>(query: URLSearchParams, parameter: string, name: Name): { [Key in Name]?: string } {
  const path = query.get(parameter);
  if (path === null) return {};
  try {
    return optional(name, readFileSync(path, "utf8"));
  } catch (cause) {
    throw new CaissonError("invalid_request", `The file ${path} (${parameter} of the database's address) cannot be read.`, { cause });
  }
}

function anyName(): undefined {
  return undefined;
}

function optional<Name extends string>(name: Name, value: string | null): { [Key in Name]?: string } {
  return value === null ? {} : ({ [name]: value } as { [Key in Name]?: string });
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw refused("is not validly percent-encoded"); // without its cause, which may show the password
  }
}

function refused(why: string): CaissonError {
  return new CaissonError("invalid_request", `The database's address ${why}.`, { detail: { remedy: REMEDY } });
}
