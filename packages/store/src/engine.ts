import type { Kysely } from "kysely";
import { WrittenOrder, type EventOrder } from "./event-order.ts";
import type { EventRepository } from "./event-repository.ts";
import { lazySqliteTransaction, type LazyTransaction } from "./lazy-transaction.ts";
import { SINGLE_WRITER, type Locks } from "./locks.ts";
import type { StoreClock } from "./store-clock.ts";
import type { Tables } from "./tables.ts";

/** Runs what only one control plane may run at a time; see `Store.singleton`. */
export type Singleton = (name: string, run: (signal: AbortSignal) => Promise<void>, signal: AbortSignal) => Promise<void>;

/**
 * Runs one statement that writes to several tables and appends an event: a transaction by itself, without a round trip for its
 * beginning and one for its end. The statement answers nothing when it changed nothing; it may be run again, so times are read
 * within.
 */
export type AtOnce = <T>(run: (db: Kysely<Tables>) => Promise<T | undefined>) => Promise<T | undefined>;

/** What databases do differently; all else is the same code. */
export interface Engine {
  readonly lazily: LazyTransaction;
  readonly order: EventOrder;
  readonly locks: Locks;
  readonly singleton: Singleton;
  /** Absent where a statement writes to one table only. */
  readonly atOnce?: AtOnce;
  /** Ends what the engine runs beside the queries. */
  close(): Promise<void>;
}

/** What the writes of sandboxes are made with. */
export interface WriteParts {
  readonly clock: StoreClock;
  readonly events: EventRepository;
  readonly engine: Pick<Engine, "atOnce" | "locks">;
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
