import { chmodSync, mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { Kysely } from "kysely";
import { sqliteEngine } from "./engine.ts";
import { migrate } from "./migrations.ts";
import { SQLITE_FLAVOUR } from "./migrations/flavour.ts";
import type { StoreClock } from "./store-clock.ts";
import { SqliteDialect } from "./sqlite-dialect.ts";
import { KyselyStore, type Store } from "./store.ts";
import type { Tables } from "./tables.ts";

/** How long a statement waits for another process that writes, in ms. */
const BUSY_TIMEOUT_MS = 5_000;

/** What `openSqlite` opens. */
export interface SqliteOptions {
  /** Path of the file; `:memory:` for a database that ends with the process. */
  readonly path: string;
  readonly clock: StoreClock;
  /** Called with the connection when its tables are there: for tests that look at what is written, or empty it between two runs. */
  readonly prepare?: (database: DatabaseSync) => void;
}

/** Opens, and makes if needed, the embedded database. */
export async function openSqlite(options: SqliteOptions): Promise<Store> {
  const database = openDatabase(options.path);
  try {
    const db = new Kysely<Tables>({ dialect: new SqliteDialect(database) });
    await migrate(db as unknown as Kysely<never>, SQLITE_FLAVOUR);
    options.prepare?.(database);
    return new KyselyStore(db, options.clock, sqliteEngine(db));
  } catch (error) {
    database.close();
    throw error;
  }
}

/** A connection with our settings: what is acknowledged survives a crash of the process and of the machine. */
function openDatabase(path: string): DatabaseSync {
  const onDisk = path !== ":memory:";
  if (onDisk) mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const database = new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS, enableForeignKeyConstraints: true });
  try {
    if (onDisk) {
      // Sandbox environments may hold secrets.
      chmodSync(path, 0o600);
      database.exec("pragma journal_mode = wal");
    }
    // FULL syncs the log at every commit; NORMAL would lose the last commits when the power fails.
    database.exec("pragma synchronous = full");
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}
