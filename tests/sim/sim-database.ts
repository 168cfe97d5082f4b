import type { DatabaseSync, SQLOutputValue } from "node:sqlite";
import { openSqlite, type Store } from "@caisson/store";

/** One row as it was before a write and after it; undefined where there was none. */
export interface RowChange {
  readonly table: WatchedTable;
  readonly before: Row | undefined;
  readonly after: Row | undefined;
}

let shared: Promise<SimDatabase> | undefined;

/** Columns by name. */
export type Row = Readonly<Record<string, SQLOutputValue>>;

/** Columns of which every change is told. */
const WATCHED = {
  sandboxes: ["id", "version", "epoch", "state", "worker_id", "expires_at", "placement", "tenant_id"],
  leases: ["sandbox_id", "worker_id", "epoch", "memory_mb", "vcpus", "disk_mb"],
  events: ["type", "resource_id"],
  workers: [
    "id",
    "state",
    "admin_drain",
    "self_drain",
    "tenant_id",
    "labels",
    "capacity",
    "reserved_sandboxes",
    "reserved_memory_mb",
    "reserved_vcpus",
    "reserved_disk_mb",
  ],
} as const satisfies Readonly<Record<string, readonly string[]>>;
type WatchedTable = keyof typeof WATCHED;

/**
 * The real store over one database in memory, opened once and emptied for each world, because making its tables takes longer
 * than many a world. Every row that changes is told by triggers, so whoever watches misses no write, by whatever method.
 */
export class SimDatabase {
  /** The wall clock of the database. */
  now: () => number = () => 0;
  #store: Store | undefined;
  #connection: DatabaseSync | undefined;
  #clear: readonly { readonly run: () => void }[] = [];
  #changes: RowChange[] = [];
  readonly #planted: string[] = [];

  static async open(): Promise<SimDatabase> {
    const database = new SimDatabase();
    const clock = { now: () => database.now() };
    database.#store = await openSqlite({ path: ":memory:", clock, prepare: (connection) => database.#watch(connection) });
    return database;
  }

  /** The one of this process: worlds are played one after the other. */
  static shared(): Promise<SimDatabase> {
    shared ??= SimDatabase.open();
    return shared;
  }

  get store(): Store {
    if (this.#store === undefined) throw new Error("the database is not open");
    return this.#store;
  }

  /** Forgets everything that was ever written. */
  clear(): void {
    for (const name of this.#planted.splice(0)) this.#connection?.exec(`drop trigger temp.${name}`);
    for (const statement of this.#clear) statement.run();
    this.#changes = [];
  }

  /** Rows that changed since this was last asked, in order. */
  takeChanges(): readonly RowChange[] {
    const changes = this.#changes;
    this.#changes = [];
    return changes;
  }

  /** Has the database do something besides, until the next world. */
  plant(triggers: Readonly<Record<string, string>>): void {
    for (const [name, body] of Object.entries(triggers)) {
      this.#connection?.exec(`create temp trigger plant_${name} ${body}`);
      this.#planted.push(`plant_${name}`);
    }
  }

  /** Rows of a query that the store has no method for. */
  rows(sql: string, ...parameters: readonly string[]): readonly Row[] {
    if (this.#connection === undefined) throw new Error("the database is not open");
    return this.#connection.prepare(sql).all(...parameters);
  }

  close(): Promise<void> {
    return this.store.close();
  }

  /** What a transaction had changed when it was rolled back did not happen. */
  #forgetRolledBack(connection: DatabaseSync): void {
    let mark = 0;
    const before: Readonly<Record<string, () => void>> = {
      "begin immediate": () => {
        mark = this.#changes.length;
      },
      rollback: () => {
        this.#changes.length = mark;
      },
    };
    const prepare = connection.prepare.bind(connection);
    connection.prepare = (sql) => {
      const statement = prepare(sql);
      const first = before[sql];
      if (first !== undefined) {
        const run = statement.run.bind(statement);
        // Neither of them has parameters.
        statement.run = (() => {
          first();
          return run();
        }) as typeof statement.run;
      }
      return statement;
    };
  }

  #watch(connection: DatabaseSync): void {
    this.#connection = connection;
    this.#forgetRolledBack(connection);
    const tables = connection
      .prepare("select name from sqlite_schema where type = 'table' and name not like 'kysely_%' and name not like 'sqlite_%'")
      .all();
    // What refers to others goes before them.
    const names = tables.map((row) => String(row["name"])).toSorted((a, b) => Number(a === "sandboxes") - Number(b === "sandboxes"));
    this.#clear = [...names, "sqlite_sequence"].map((name) => connection.prepare(`delete from ${name}`));
    for (const [table, columns] of Object.entries(WATCHED) as [WatchedTable, readonly string[]][]) {
      connection.function(`sim_${table}`, { varargs: true, useBigIntArguments: false }, (...values) => {
        this.#changes.push(toChange(table, columns, values));
        return null;
      });
      const list = (row: "old" | "new" | "none"): string => columns.map((column) => (row === "none" ? "null" : `${row}.${column}`)).join();
      for (const [event, before, after] of [
        ["insert", "none", "new"],
        [`update of ${columns.join()}`, "old", "new"],
        ["delete", "old", "none"],
      ] as const) {
        const differs = columns.map((column) => `old.${column} is not new.${column}`).join(" or ");
        connection.exec(
          `create temp trigger sim_${table}_${event.slice(0, 6)} after ${event} on main.${table} ${event.startsWith("update") ? `when ${differs}` : ""} begin select sim_${table}(${list(before)}, ${list(after)}); end`,
        );
      }
    }
  }
}

function toChange(table: WatchedTable, columns: readonly string[], values: readonly SQLOutputValue[]): RowChange {
  const row = (from: number): Row | undefined =>
    values[from] === null ? undefined : Object.fromEntries(columns.map((column, i) => [column, values[from + i] ?? null]));
  return { table, before: row(0), after: row(columns.length) };
}
