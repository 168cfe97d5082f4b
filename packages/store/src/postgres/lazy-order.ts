import type { Clock } from "@caisson/contract";
import { sql, type Kysely, type Transaction } from "kysely";
import type { EventOrder } from "../event-order.ts";
import type { Tables } from "../tables.ts";

/** Events that get their place in one statement. */
const BATCH = 5_000;
/** Least time between two notifications of one process, in ms: they go through one queue of the server. */
const NOTIFY_EVERY_MS = 20;

/**
 * Places that readers give. A writer appends its events without one and waits for nobody. Whoever reads first gives places to
 * all that is committed, in the order in which the rows were made, holding a lock on the counter: so places are given in the
 * order in which they become visible, and who has read place n+1 has read n. What was committed before another transaction
 * began comes before all that it appends, because its row was made before.
 */
export class LazyOrder implements EventOrder {
  readonly #db: Kysely<Tables>;
  readonly #clock: Clock;
  readonly #notify: () => Promise<unknown>;
  readonly #listeners = new Set<() => void>();
  readonly #appended = new WeakSet<Transaction<Tables>>();
  #running: Promise<unknown> = Promise.resolve();
  #next: Promise<void> | undefined;
  #notifying = false;
  #again = false;

  /** `notify` tells the other processes that there are new events. */
  constructor(db: Kysely<Tables>, clock: Clock, notify: () => Promise<unknown>) {
    this.#db = db;
    this.#clock = clock;
    this.#notify = notify;
  }

  appended(trx: Transaction<Tables>): void {
    this.#appended.add(trx);
  }

  /** To be called when a transaction was committed: only now others can read what it appended. */
  committed(trx: Transaction<Tables>): void {
    if (this.#appended.has(trx)) this.told();
  }

  /** To be called when others can read what was appended. */
  told(): void {
    this.ring();
    void this.#tellOthers();
  }

  /** Calls the listeners of this process. */
  ring(): void {
    for (const listener of this.#listeners) listener();
  }

  /** Who comes while one runs waits for the next: the present one may have looked before his events were there. */
  settle(): Promise<void> {
    this.#next ??= this.#running.then(() => {
      this.#next = undefined;
      const run = this.#settle();
      this.#running = run.catch(() => undefined);
      return run;
    });
    return this.#next;
  }

  async newest(trx: Transaction<Tables>): Promise<number> {
    for (;;) {
      const { given, last } = await give(trx);
      if (given < BATCH) return last;
    }
  }

  listen(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  async #settle(): Promise<void> {
    for (;;) {
      const { rows } = await sql`select 1 from events where seq is null limit 1`.execute(this.#db);
      if (rows.length === 0) return;
      await this.#db.transaction().execute(give);
    }
  }

  async #tellOthers(): Promise<void> {
    this.#again = true;
    if (this.#notifying) return;
    this.#notifying = true;
    try {
      while (this.#again) {
        this.#again = false;
        await this.#notify().catch(() => undefined); // the others look by themselves after a while
        await this.#clock.sleep(NOTIFY_EVERY_MS);
      }
    } finally {
      this.#notifying = false;
    }
  }
}

/** Gives a batch of events their places; those of the transaction itself among them. The lock is kept until it ends. */
async function give(trx: Transaction<Tables>): Promise<{ readonly given: number; readonly last: number }> {
  await sql`select last from event_counter for update`.execute(trx);
  // A statement of its own, begun after the lock was got: it sees all that the one before wrote.
  const { rows } = await sql<{ given: number; last: number }>`
    with fresh as (
      select id, row_number() over (order by id) as place from events where seq is null order by id limit ${sql.lit(BATCH)}
    ), placed as (
      update events set seq = event_counter.last + fresh.place from fresh, event_counter where events.id = fresh.id returning events.id
    )
    update event_counter set last = last + (select count(*) from placed)
    returning last, (select count(*) from placed) as given`.execute(trx);
  const [row] = rows;
  if (row === undefined) throw new Error("the counter of events is missing");
  return row;
}
