import type { Clock, Timer } from "@caisson/contract";
import type { Connector } from "./connector.ts";
import { lockKey } from "./postgres-locks.ts";
import type { Session } from "./session.ts";

/** Longest time of one of its statements, in ms; all of them are small. */
const STATEMENT_MS = 5_000;
/** Silence after which the connection is tried, in ms. */
const PROBE_MS = 5_000;
/** First and longest rest before it is made again, in ms. */
const RETRY_MS = { first: 100, longest: 5_000 } as const;
/** How often one looks whether somebody else's lock has become free, in ms. */
const LOOK_MS = 2_000;

/** What a side session needs. */
export interface SideSessionOptions {
  readonly connector: Connector;
  readonly clock: Clock;
  /** What it listens to. */
  readonly channel: string;
  /** Called with each payload. */
  readonly heard: (payload: string) => void;
  /** Called when it begins to listen, anew too: what was said before went by unheard. */
  readonly listening: () => void;
}

/**
 * One connection beside the pool: it hears notifications and holds locks for longer than a transaction. It is made again when
 * it breaks; who held a lock with it is told, for the server has given the lock to others by then.
 */
export class SideSession {
  readonly #options: SideSessionOptions;
  readonly #closed = new AbortController();
  readonly #held = new Set<string>();
  #session: Session | undefined;
  readonly #running: Promise<void>;
  readonly #tried = Promise.withResolvers<void>();

  constructor(options: SideSessionOptions) {
    this.#options = options;
    this.#running = this.#run();
  }

  /** Resolves when it listens, or its first attempt failed. */
  get tried(): Promise<void> {
    return this.#tried.promise;
  }

  /**
   * Runs something while this process alone holds the lock of that name, waiting for it as long as needed. The signal that
   * `run` gets is aborted when the lock is lost; when `run` has ended then, it waits for the lock again. Resolves when the
   * signal is aborted or `run` ended by itself; rejects as `run` does.
   */
  async singleton(name: string, run: (signal: AbortSignal) => Promise<void>, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    const ended = AbortSignal.any([signal, this.#closed.signal]);
    while (!ended.aborted) {
      const session = await this.#acquire(name);
      if (session === undefined) {
        await clock.sleep(LOOK_MS, ended).catch(() => undefined); // the loop's condition sees why
        continue;
      }
      const holding = AbortSignal.any([ended, session.lost]);
      try {
        await run(holding);
        if (!session.lost.aborted) return;
      } catch (error) {
        if (!holding.aborted) throw error;
      } finally {
        this.#held.delete(name);
        // A lock that cannot be given back goes with its session: else nobody would ever get it.
        await session.query("select pg_advisory_unlock($1::bigint)", [lockKey(name)]).catch(() => session.close());
      }
    }
  }

  /** Gives up all locks and ends. */
  async close(): Promise<void> {
    this.#closed.abort(new Error("the store was closed"));
    await this.#running;
  }

  /** The session that holds the lock now; undefined while somebody else has it, or there is none. */
  async #acquire(name: string): Promise<Session | undefined> {
    const session = this.#session;
    // A session gets a lock that it has already.
    if (session === undefined || this.#held.has(name)) return undefined;
    this.#held.add(name);
    try {
      const { rows } = await session.query<{ got: boolean }>("select pg_try_advisory_lock($1::bigint) as got", [lockKey(name)]);
      if (rows[0]?.got === true) return session;
    } catch {
      // It may have the lock or not; the next one tries.
      session.close();
    }
    this.#held.delete(name);
    return undefined;
  }

  async #run(): Promise<void> {
    const { connector, clock, channel, heard, listening } = this.#options;
    const { signal } = this.#closed;
    let rest: number = RETRY_MS.first;
    while (!signal.aborted) {
      try {
        const session = await connector.open(STATEMENT_MS);
        const close = (): void => session.close();
        signal.addEventListener("abort", close, { once: true });
        try {
          signal.throwIfAborted(); // it was closed while it connected
          session.onNotification(heard);
          await session.query(`listen ${channel}`, []);
          this.#session = session;
          rest = RETRY_MS.first;
          listening();
          this.#tried.resolve();
          await this.#watch(session);
        } finally {
          this.#session = undefined;
          signal.removeEventListener("abort", close);
          session.close();
        }
      } catch {
        // tried again; whoever needs the database hears it from his own query
      }
      this.#tried.resolve();
      await clock.sleep(rest * (0.5 + Math.random() / 2), signal).catch(() => undefined); // the loop's condition sees why
      rest = Math.min(rest * 2, RETRY_MS.longest);
    }
  }

  /** Resolves when the session has ended; a dead connection shows by a statement that is not answered. */
  async #watch(session: Session): Promise<void> {
    const { clock } = this.#options;
    let timer: Timer | undefined;
    const probe = (): void => {
      timer = clock.schedule(PROBE_MS, () => {
        session.query("select 1", []).then(probe, () => undefined); // then it is lost
      });
    };
    probe();
    if (!session.lost.aborted)
      await new Promise<void>((resolve) => session.lost.addEventListener("abort", () => resolve(), { once: true }));
    timer?.cancel();
  }
}
