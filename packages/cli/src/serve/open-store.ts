import { readFileSync } from "node:fs";
import { CaissonError, systemClock, type Clock, type Config } from "@caisson/contract";
import { SteadyClock } from "@caisson/control";
import { openPostgres, openSqlite, type Store } from "@caisson/store";
import { resolveDatabasePath, resolveDataDir } from "../config/data-dir.ts";
import { refuseMoved } from "./moved-database.ts";

/** The store, and the time that is stored in it. */
export interface OpenStore {
  readonly store: Store;
  /** The orchestrator shares it with the store. */
  readonly clock: Clock;
}

/** Opens the configured database. `invalid_request` for a configuration that contradicts itself. */
export async function openStore(config: Config): Promise<OpenStore> {
  const dsn = databaseAddress(config.database);
  if (dsn === undefined) {
    refuseMoved(resolveDataDir(config));
    const clock = new SteadyClock(systemClock);
    return { store: await openSqlite({ path: resolveDatabasePath(config), clock }), clock };
  }
  const store = await openPostgres({ dsn, clock: systemClock, maxConnections: config.database.max_connections });
  return { store, clock: store.clock };
}

/** The address of PostgreSQL; undefined with SQLite. */
export function databaseAddress({ driver, path, dsn, dsn_file: file }: Config["database"]): string | undefined {
  if (driver === "sqlite") {
    if (dsn !== undefined || file !== undefined) {
      const named = dsn === undefined ? "database.dsn_file" : "database.dsn";
      throw contradiction(`${named} is set, but database.driver is sqlite.`, "Set database.driver to postgres, or leave it out.");
    }
    return undefined;
  }
  if (path !== undefined)
    throw contradiction("database.path is set, but database.driver is postgres.", "Leave database.path out: it is the file of SQLite.");
  if (dsn !== undefined && file !== undefined)
    throw contradiction("database.dsn and database.dsn_file are both set.", "Leave one of them out.");
  if (dsn !== undefined) return dsn;
  if (file === undefined)
    throw contradiction(
      "database.driver is postgres, but there is no database.dsn.",
      "Set database.dsn, such as postgres://user:password@host:5432/caisson, or database.dsn_file to a file that holds it.",
    );
  try {
    return readFileSync(file, "utf8").trim();
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw contradiction(`The file ${file} (database.dsn_file) cannot be read: ${code ?? "unknown"}.`, "Name one that this user may read.");
  }
}

function contradiction(message: string, remedy: string): CaissonError {
  return new CaissonError("invalid_request", message, { detail: { remedy } });
}
