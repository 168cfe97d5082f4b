import { sql, type Kysely, type Transaction } from "kysely";
import type { Tables } from "./tables.ts";

/**
 * A transaction that returns before it is on disk. It survives a crash of the process; a power failure may take it, and then
 * all later ones of its kind with it, but nothing that was committed after it in the ordinary way.
 */
export type LazyTransaction = <T>(run: (trx: Transaction<Tables>) => Promise<T>) => Promise<T>;

/** SQLite's: the commit writes the log and does not wait for the disk, which takes milliseconds in which nothing else runs. */
export function lazySqliteTransaction(db: Kysely<Tables>): LazyTransaction {
  return (run) =>
    db.connection().execute(async (connection) => {
      await sql`pragma synchronous = normal`.execute(connection);
      try {
        return await connection.transaction().execute(run);
      } finally {
        await sql`pragma synchronous = full`.execute(connection);
      }
    });
}
