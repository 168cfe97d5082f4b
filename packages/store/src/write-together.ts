import { sql, type Kysely, type RawBuilder, type UpdateQueryBuilder, type UpdateResult } from "kysely";
import { executeCompiled } from "./compiled-statement.ts";
import type { Tables } from "./tables.ts";

/** The update of a statement; see `executeCompiled` for its shape and values. */
export interface UpdateTogether<TB extends keyof Tables, Row, Values extends readonly unknown[]> {
  readonly shape: string;
  readonly values: Readonly<Values>;
  readonly build: (...values: Values) => UpdateQueryBuilder<Tables, TB, TB, Row extends UpdateResult ? never : Row>;
}

/** Rows that a statement inserts beside its update. */
export interface InsertedBeside {
  readonly table: keyof Tables;
  /** All with the same columns. */
  readonly rows: readonly [Readonly<Record<string, unknown>>, ...Readonly<Record<string, unknown>>[]];
  /** The column of which an older row is replaced; absent: there is none. */
  readonly replaces?: string;
}

/**
 * One statement that updates a row and inserts others, which are only written if that row was there; what `update` returns of
 * it, undefined when it was not. For databases whose engine has `atOnce`.
 */
export async function writeTogether<TB extends keyof Tables, Row, Values extends readonly unknown[]>(
  db: Kysely<Tables>,
  update: UpdateTogether<TB, Row, Values>,
  inserts: readonly InsertedBeside[],
): Promise<Row | undefined> {
  const columnsOf = inserts.map(({ rows }) => Object.keys(rows[0]));
  const shapes = inserts.map(({ table, rows, replaces = "" }, at) => `${table} ${rows.length} ${replaces} ${columnsOf[at]?.join()}`);
  const inserted = inserts.flatMap(({ rows }, at) => rows.flatMap((row) => (columnsOf[at] ?? []).map((column) => row[column])));
  const build = (...values: readonly unknown[]): RawBuilder<Row> => {
    const left = values.slice(update.values.length);
    const parts = inserts.map((insert, at) => {
      const columns = columnsOf[at] ?? [];
      const rows = insert.rows.map(() => left.splice(0, columns.length));
      return sql`${sql.id(`inserted_${at}`)} as (${inserting(insert, columns, rows)})`;
    });
    const updated = update.build(...(values.slice(0, update.values.length) as unknown as Values));
    return sql<Row>`with updated as (${updated}), ${sql.join(parts)} select * from updated`;
  };
  const rows = await executeCompiled(db, [update.shape, ...shapes].join("; "), [...update.values, ...inserted], (...values) => ({
    compile: () => build(...values).compile(db),
  }));
  return rows[0];
}

function inserting(
  { table, replaces }: InsertedBeside,
  columns: readonly string[],
  rows: readonly (readonly unknown[])[],
): RawBuilder<unknown> {
  const names = sql.join(columns.map((column) => sql.id(column)));
  const selected = rows.map((row) => sql`select ${sql.join(row)} from updated`);
  const insert = sql`insert into ${sql.table(table)} (${names}) ${sql.join(selected, sql` union all `)}`;
  if (replaces === undefined) return insert;
  const fresh = columns.map((column) => sql`${sql.id(column)} = ${sql.id("excluded", column)}`);
  return sql`${insert} on conflict (${sql.id(replaces)}) do update set ${sql.join(fresh)}`;
}
