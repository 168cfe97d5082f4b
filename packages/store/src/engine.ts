import type { Kysely } from "kysely";
import { WrittenOrder, type EventOrder } from "./event-order.ts";
import { lazySqliteTransaction, type LazyTransaction } from "./lazy-transaction.ts";
import { SINGLE_WRITER, type Locks } from "./locks.ts";
import type { Tables } from "./tables.ts";

/** Runs what only one control plane may run at a time; see `Store.singleton`. */
export type Singleton = (name: string, run: (signal: AbortSignal) => Promise<void>, signal: AbortSignal) => Promise<void>;

/** What databases do differently; all else is the same code. */
export interface Engine {
  readonly lazily: LazyTransaction;
  readonly order: EventOrder;
  readonly locks: Locks;
  readonly singleton: Singleton;
  /** Ends what the engine runs beside the queries. */
  close(): Promise<void>;
}

/** SQLite: one process, one writer. */
export function sqliteEngine(db: Kysely<Tables>): Engine {
  return {
    lazily: lazySqliteTransaction(db),
    order: new WrittenOrder(),
    locks: SINGLE_WRITER,
    singleton: (_name, run, signal) => run(signal),
    close: () => Promise.resolve(),
  };
}
