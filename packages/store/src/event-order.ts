import type { Transaction } from "kysely";
import type { Tables } from "./tables.ts";

/** How events get their place in the order, and how one hears that there are new ones. */
export interface EventOrder {
  /** A transaction has written events. */
  appended(trx: Transaction<Tables>): void;
  /** Gives a place to all that was committed before the call: who reads then, reads it. */
  settle(): Promise<void>;
  /** The last place, after a transaction's own events have theirs. */
  newest(trx: Transaction<Tables>): Promise<number>;
  /** Calls the listener when events were appended. Returns what ends that. */
  listen(listener: () => void): () => void;
}

/** Of a database with one writer: a row gets its place as it is written, and whoever reads place n+1 has read n. */
export class WrittenOrder implements EventOrder {
  readonly #listeners = new Set<() => void>();

  /** Tells before the commit: the one who reads on hearing it gets the connection after it. */
  appended(): void {
    for (const listener of this.#listeners) listener();
  }

  settle(): Promise<void> {
    return Promise.resolve();
  }

  async newest(trx: Transaction<Tables>): Promise<number> {
    const last = await trx
      .selectFrom("events")
      .select((of) => of.fn.max<number | null>("seq").as("seq"))
      .executeTakeFirst();
    return last?.seq ?? 0;
  }

  listen(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}
