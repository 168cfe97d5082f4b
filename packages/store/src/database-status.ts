import { existsSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import type { Clock } from "@caisson/contract";
import { Connector } from "./postgres/connector.ts";
import { parseDsn } from "./postgres/parse-dsn.ts";
import { migrationsOf } from "./migrations.ts";
import { SQLITE_FLAVOUR } from "./migrations/flavour.ts";

const STATEMENT_MS = 30_000;

/** What there is to say of a database without changing it. */
export interface DatabaseStatus {
  readonly driver: "sqlite" | "postgres";
  /** File, or hosts, ports and database. */
  readonly place: string;
  /** Version of the server or the library; null where there is no database yet. */
  readonly version: string | null;
  /** The newest migration that it has; null before the first start. */
  readonly schema: string | null;
  /** Migrations that the next start makes. */
  readonly pending: readonly string[];
  /** Rows of the main tables. */
  readonly rows: Readonly<Record<string, number>>;
}

const COUNTED = ["sandboxes", "leases", "events", "exec_log", "webhooks", "webhook_deliveries", "workers"] as const;

/** Looks at an embedded database, also while a server uses it. */
export function sqliteStatus(path: string): DatabaseStatus {
  if (!existsSync(path)) return toStatus("sqlite", path, null, [], {});
  const database = new DatabaseSync(path, { readOnly: true });
  try {
    const all = (text: string): Record<string, unknown>[] => database.prepare(text).all();
    const names = all("select name from sqlite_schema where type = 'table'").map((row) => String(row["name"]));
    const applied = names.includes("kysely_migration") ? all("select name from kysely_migration order by name") : [];
    const rows = Object.fromEntries(
      COUNTED.filter((name) => names.includes(name)).map((name) => [name, Number(all(`select count(*) as n from ${name}`)[0]?.["n"])]),
    );
    const version = String(all("select sqlite_version() as version")[0]?.["version"]);
    return toStatus(
      "sqlite",
      path,
      version,
      applied.map((row) => String(row["name"])),
      rows,
    );
  } finally {
    database.close();
  }
}

/** Looks at a PostgreSQL. `database_unavailable` when it cannot be reached. */
export async function postgresStatus(dsn: string, clock: Clock): Promise<DatabaseStatus> {
  const address = parseDsn(dsn);
  const session = await new Connector(address, clock).open(STATEMENT_MS);
  try {
    const all = async (text: string): Promise<Record<string, unknown>[]> => (await session.query<Record<string, unknown>>(text, [])).rows;
    const names = (await all("select tablename as name from pg_tables where schemaname = current_schema()")).map((row) =>
      String(row["name"]),
    );
    const applied = names.includes("kysely_migration") ? await all("select name from kysely_migration order by name") : [];
    const rows: Record<string, number> = {};
    for (const name of COUNTED) if (names.includes(name)) rows[name] = Number((await all(`select count(*) as n from ${name}`))[0]?.["n"]);
    const version = String((await all("show server_version"))[0]?.["server_version"]);
    return toStatus(
      "postgres",
      address.shown,
      version,
      applied.map((row) => String(row["name"])),
      rows,
    );
  } finally {
    session.close();
  }
}

function toStatus(
  driver: DatabaseStatus["driver"],
  place: string,
  version: string | null,
  applied: readonly string[],
  rows: Record<string, number>,
): DatabaseStatus {
  const pending = Object.keys(migrationsOf(SQLITE_FLAVOUR)).filter((name) => !applied.includes(name));
  return { driver, place, version, schema: applied.at(-1) ?? null, pending, rows };
}
