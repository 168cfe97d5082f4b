import type { SelectQueryBuilder, Transaction } from "kysely";
import type { Tables } from "./tables.ts";

/** What to do about rows that are read in order to be changed. */
export type RowLock =
  /** Nobody else changes them, or locks them likewise, until the transaction has ended. */
  | "update"
  /** Nobody else changes them until then; others may lock them likewise. */
  | "share"
  /** As `update`, and rows that somebody else has locked are left out. */
  | "claim";

/** How transactions that run at the same time are kept apart where a write alone does not do it. */
export interface Locks {
  /** Until this transaction has ended, others that name the same thing wait here. */
  named(trx: Transaction<Tables>, name: string): Promise<void>;
  /** A query that also locks the rows it finds. */
  rows<TB extends keyof Tables, O>(query: SelectQueryBuilder<Tables, TB, O>, lock: RowLock): SelectQueryBuilder<Tables, TB, O>;
}

/** Of SQLite: a transaction that may write has the database to itself. */
export const SINGLE_WRITER: Locks = {
  named: () => Promise.resolve(),
  rows: (query) => query,
};
