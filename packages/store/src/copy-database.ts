import { existsSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { CaissonError, type Clock } from "@caisson/contract";
import { Kysely, PostgresDialect, sql } from "kysely";
import { openPostgresDatabase } from "./open-postgres.ts";
import { openSqlite } from "./open-sqlite.ts";
import { TableDigest } from "./table-digest.ts";

/** Rows written in one statement. */
const BATCH = 500;
/** Longest time of one statement, in ms. */
const STATEMENT_MS = 600_000;
/** What belongs to the database itself, or to processes that run now. */
const NOT_COPIED = new Set(["kysely_migration", "kysely_migration_lock", "event_counter", "control_planes", "sqlite_sequence"]);

/** What is copied from where to where. */
export interface CopyDatabase {
  /** The file of SQLite. Nobody else may use it meanwhile. */
  readonly path: string;
  /** The address of PostgreSQL. */
  readonly dsn: string;
  readonly clock: Clock;
}

/** What a copy came to. */
export interface DatabaseCopy {
  /** `false`: the target held the very same already, and nothing was written. */
  readonly written: boolean;
  /** Rows by table. */
  readonly rows: Readonly<Record<string, number>>;
}

/**
 * Copies an embedded database to PostgreSQL: every table, and where the order of events and messages stands. All of it is
 * one transaction, at whose end both sides are compared row by row. `already_exists` for a target that holds anything else.
 * The source is brought to the newest schema, and otherwise stays as it is.
 */
export async function copyDatabase({ path, dsn, clock }: CopyDatabase): Promise<DatabaseCopy> {
  if (!existsSync(path)) throw new CaissonError("not_found", `There is no embedded database at ${path}.`);
  await using _migrated = await openSqlite({ path, clock });
  const source = new DatabaseSync(path, { readOnly: true });
  const pool = await openPostgresDatabase(dsn, clock, { max: 1, statementMs: STATEMENT_MS });
  const target = new Kysely<Record<string, Record<string, unknown>>>({ dialect: new PostgresDialect({ pool }) });
  try {
    return await target.transaction().execute(async (trx) => {
      const tables = tablesOf(source);
      // Two copies at once, or a server that starts, would mix: they wait here.
      await sql`lock table ${sql.join(tables.map((table) => sql.table(table.name)))} in exclusive mode`.execute(trx);
      const before = await Promise.all(tables.map((table) => digestTarget(trx, table)));
      const empty = before.every((digest) => digest.rows === 0);
      if (empty) for (const table of tables) await fill(source, trx, table);
      const rows: Record<string, number> = {};
      for (const table of tables) {
        const there = await digestTarget(trx, table);
        const here = digestSource(source, table);
        if (!there.equals(here)) throw empty ? incomplete(table.name) : occupied(table.name);
        rows[table.name] = here.rows;
      }
      return { written: empty, rows };
    });
  } finally {
    source.close();
    await target.destroy();
  }
}

interface Table {
  readonly name: string;
  readonly columns: readonly string[];
  /** Its rows are numbered by the database. */
  readonly sequence: boolean;
}

type Target = Kysely<Record<string, Record<string, unknown>>>;

/** Tables in an order in which each comes after those that it refers to. */
function tablesOf(source: DatabaseSync): Table[] {
  const rows = source.prepare("select name, sql from sqlite_schema where type = 'table' order by name").all() as {
    name: string;
    sql: string;
  }[];
  const left = new Map(rows.filter(({ name }) => !NOT_COPIED.has(name)).map((row) => [row.name, row]));
  const ordered: Table[] = [];
  while (left.size > 0) {
    const [next] = [...left.values()].filter(({ name }) =>
      (source.prepare(`pragma foreign_key_list("${name}")`).all() as { table: string }[]).every(
        (key) => key.table === name || !left.has(key.table),
      ),
    );
    if (next === undefined) throw new Error("tables that refer to each other in a circle");
    left.delete(next.name);
    const columns = (source.prepare(`pragma table_info("${next.name}")`).all() as { name: string }[]).map((column) => column.name);
    ordered.push({ name: next.name, columns, sequence: /autoincrement/i.test(next.sql) });
  }
  return ordered;
}

async function fill(source: DatabaseSync, target: Target, table: Table): Promise<void> {
  const { name, columns } = table;
  let batch: Record<string, unknown>[] = [];
  const write = async (): Promise<void> => {
    if (batch.length === 0) return;
    await sql`insert into ${sql.table(name)} (${sql.join(columns.map((column) => sql.ref(column)))}) overriding system value values ${sql.join(
      batch.map((row) => sql`(${sql.join(columns.map((column) => row[column]))})`),
    )}`.execute(target);
    batch = [];
  };
  for (const row of source.prepare(selectOf(table)).iterate()) {
    batch.push(row as Record<string, unknown>);
    if (batch.length === BATCH) await write();
  }
  await write();
  if (!table.sequence) return;
  const last = source.prepare("select seq from sqlite_sequence where name = ?").get(name) as { seq: number } | undefined;
  if (last === undefined) return;
  // No number is given twice, also when its row is gone.
  if (name === "events") await sql`update event_counter set last = ${last.seq}`.execute(target);
  else await sql`select setval(pg_get_serial_sequence(${name}, ${columns[0]}), ${Math.max(1, last.seq)}::bigint)`.execute(target);
}

function selectOf({ name, columns, sequence }: Table): string {
  const order = sequence ? ` order by "${columns[0]}"` : "";
  return `select ${columns.map((column) => `"${column}"`).join(", ")} from "${name}"${order}`;
}

function digestSource(source: DatabaseSync, table: Table): TableDigest {
  const digest = new TableDigest(table.columns);
  for (const row of source.prepare(selectOf(table)).iterate()) digest.add(row as Record<string, unknown>);
  return digest;
}

async function digestTarget(target: Target, table: Table): Promise<TableDigest> {
  const digest = new TableDigest(table.columns);
  const cursor = sql.ref(`copy_${table.name}`);
  await sql`declare ${cursor} no scroll cursor for ${sql.raw(selectOf(table))}`.execute(target);
  for (;;) {
    const { rows } = await sql<Record<string, unknown>>`fetch ${sql.lit(BATCH)} from ${cursor}`.execute(target);
    for (const row of rows) digest.add(row);
    if (rows.length < BATCH) break;
  }
  await sql`close ${cursor}`.execute(target);
  return digest;
}

function occupied(table: string): CaissonError {
  return new CaissonError("already_exists", `The target holds something else already: its table ${table} differs.`, {
    detail: { remedy: "Name an empty database. Nothing was changed." },
  });
}

function incomplete(table: string): CaissonError {
  return new CaissonError("internal", `The table ${table} did not arrive as it was; nothing was changed.`);
}
