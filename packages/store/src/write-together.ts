import { sql, type Kysely, type RawBuilder, type UpdateQueryBuilder, type UpdateResult } from "kysely";
import type { Tables } from "./tables.ts";

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
export async function writeTogether<TB extends keyof Tables, Row>(
  db: Kysely<Tables>,
  update: UpdateQueryBuilder<Tables, TB, TB, Row extends UpdateResult ? never : Row>,
  inserts: readonly InsertedBeside[],
): Promise<Row | undefined> {
  const parts = inserts.map((insert, number) => sql`${sql.id(`inserted_${number}`)} as (${inserting(insert)})`);
  const { rows } = await sql<Row>`with updated as (${update}), ${sql.join(parts)} select * from updated`.execute(db);
  return rows[0];
}

function inserting({ table, rows, replaces }: InsertedBeside): RawBuilder<unknown> {
  const columns = Object.keys(rows[0]);
  const names = sql.join(columns.map((column) => sql.id(column)));
  const selected = rows.map((row) => sql`select ${sql.join(columns.map((column) => row[column]))} from updated`);
  const insert = sql`insert into ${sql.table(table)} (${names}) ${sql.join(selected, sql` union all `)}`;
  if (replaces === undefined) return insert;
  const fresh = columns.map((column) => sql`${sql.id(column)} = ${sql.id("excluded", column)}`);
  return sql`${insert} on conflict (${sql.id(replaces)}) do update set ${sql.join(fresh)}`;
}
