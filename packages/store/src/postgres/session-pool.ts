import type { Clock, Timer } from "@caisson/contract";
import type { PostgresPool, PostgresPoolClient, PostgresQueryResult } from "kysely";
import type { Connector } from "./connector.ts";
import { databaseUnavailable } from "./database-error.ts";
import type { Session } from "./session.ts";

/** How long somebody waits for a connection that is free, in ms. */
const WAIT_MS = 5_000;

/** What a pool needs. */
export interface SessionPoolOptions {
  readonly connector: Connector;
  readonly clock: Clock;
  /** Most connections. */
  readonly max: number;
  /** Longest time of one statement, in ms. */
  readonly statementMs: number;
}

interface Waiter {
  readonly resolve: (session: Session) => void;
  readonly reject: (error: unknown) => void;
  readonly timer: Timer;
}

/**
 * Connections for Kysely. One that broke is never given out again; while the database is away every caller hears of it as soon
 * as a connection was tried for him, and none waits longer than its deadline.
 */
export class SessionPool implements PostgresPool {
  readonly options = {};
  readonly #options: SessionPoolOptions;
  readonly #sessions = new Set<Session>();
  readonly #idle: Session[] = [];
  readonly #waiters: Waiter[] = [];
  #opening = 0;
  #ended: PromiseWithResolvers<void> | undefined;

  constructor(options: SessionPoolOptions) {
    this.#options = options;
  }

  async connect(): Promise<PostgresPoolClient> {
    const session = await this.#take();
    let released = false;
    return {
      query: ((sql: string, parameters: readonly unknown[]) => session.query(sql, parameters)) as PostgresPoolClient["query"],
      release: (destroy) => {
        if (released) return;
        released = true;
        this.#release(session, destroy === true);
      },
    };
  }

  /** One statement on a connection of its own. */
  async query<R>(sql: string, parameters: readonly unknown[] = []): Promise<PostgresQueryResult<R>> {
    const session = await this.#take();
    try {
      return await session.query<R>(sql, parameters);
    } finally {
      this.#release(session, false);
    }
  }

  /** Closes what is idle now, and the rest when it is given back. */
  end(): Promise<void> {
    this.#ended ??= Promise.withResolvers<void>();
    for (const waiter of this.#waiters.splice(0)) {
      waiter.timer.cancel();
      waiter.reject(databaseUnavailable("it is being closed"));
    }
    for (const session of this.#idle.splice(0)) this.#drop(session);
    this.#settle();
    return this.#ended.promise;
  }

  async #take(): Promise<Session> {
    if (this.#ended !== undefined) throw databaseUnavailable("it is being closed");
    return this.#idle.pop() ?? this.#wait();
  }

  #wait(): Promise<Session> {
    const { promise, resolve, reject } = Promise.withResolvers<Session>();
    const waiter: Waiter = {
      resolve,
      reject,
      timer: this.#options.clock.schedule(WAIT_MS, () => {
        this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
        reject(databaseUnavailable(`no connection was free within ${WAIT_MS} ms`));
      }),
    };
    this.#waiters.push(waiter);
    this.#grow();
    return promise;
  }

  #grow(): void {
    while (this.#waiters.length > this.#opening && this.#sessions.size + this.#opening < this.#options.max) {
      this.#opening += 1;
      this.#options.connector.open(this.#options.statementMs).then(
        (session) => this.#opened(session),
        (error: unknown) => this.#failed(error),
      );
    }
  }

  #opened(session: Session): void {
    this.#opening -= 1;
    this.#sessions.add(session);
    session.lost.addEventListener("abort", () => this.#forget(session), { once: true });
    if (session.lost.aborted) this.#forget(session);
    else this.#give(session);
  }

  /** With no connection left, nobody need wait for another one to fail. */
  #failed(error: unknown): void {
    this.#opening -= 1;
    const hopeless = this.#sessions.size === 0;
    for (const waiter of this.#waiters.splice(0, hopeless ? Infinity : 1)) {
      waiter.timer.cancel();
      waiter.reject(error);
    }
    this.#settle();
  }

  #release(session: Session, destroy: boolean): void {
    if (session.lost.aborted) return this.#settle();
    if (destroy || session.inTransaction || this.#ended !== undefined) this.#drop(session);
    else this.#give(session);
  }

  #give(session: Session): void {
    if (this.#ended !== undefined) return this.#drop(session);
    const waiter = this.#waiters.shift();
    if (waiter === undefined) {
      this.#idle.push(session);
      return;
    }
    waiter.timer.cancel();
    waiter.resolve(session);
  }

  #drop(session: Session): void {
    session.close();
    this.#forget(session);
  }

  /** When one connection breaks the others are likely to be of no use either: those that are idle are made anew. */
  #forget(session: Session): void {
    if (!this.#sessions.delete(session)) return;
    const at = this.#idle.indexOf(session);
    if (at !== -1) this.#idle.splice(at, 1);
    if (this.#ended === undefined) for (const idle of this.#idle.splice(0)) this.#drop(idle);
    this.#grow();
    this.#settle();
  }

  #settle(): void {
    if (this.#sessions.size === 0 && this.#opening === 0) this.#ended?.resolve();
  }
}
