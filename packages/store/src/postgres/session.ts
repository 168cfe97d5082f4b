import type { Clock } from "@caisson/contract";
import pg from "pg";
import type { PostgresPoolClient, PostgresQueryResult } from "kysely";
import { databaseUnavailable, isOfConnection, isOutdated, reasonOf, toDatabaseFailure } from "./database-error.ts";

/** Time for a connection to be made, in ms. */
const CONNECT_MS = 3_000;
/** What an answer may be late beyond the server's own limit before the connection counts as dead, in ms. */
const GRACE_MS = 2_000;
/** How long the server keeps the transaction of one who stopped in the middle, in ms. */
const IDLE_IN_TRANSACTION_MS = 15_000;
/** Silence after which TCP asks whether the other side is there, in ms. */
const KEEP_ALIVE_MS = 10_000;

/** Statements that the server keeps parsed for one connection, at most. */
const PREPARED = 300;

const INT8 = 20;
const NUMERIC = 1700;
/** 64-bit integers and sums of them come as text, which would be neither added nor compared right. All of ours are below 2^53. */
const types = {
  getTypeParser: (oid: number, format?: "text" | "binary"): ((text: string) => unknown) =>
    oid === INT8 || oid === NUMERIC ? Number : (pg.types.getTypeParser(oid, format as "text") as (text: string) => unknown),
};

/** How a session is made. */
export interface SessionOptions {
  readonly clock: Clock;
  /** Longest time of one statement, in ms. */
  readonly statementMs: number;
}

/** One connection. A statement that is not answered in time breaks it; what it was doing fails with `database_unavailable`. */
export class Session {
  readonly #client: pg.Client;
  readonly #options: SessionOptions;
  readonly #lost = new AbortController();
  readonly #names = new Map<string, string>();
  #prepared = 0;

  private constructor(client: pg.Client, options: SessionOptions) {
    this.#client = client;
    this.#options = options;
    client.on("error", (error) => this.#break(error));
    client.on("end", () => this.#break(new Error("the connection has ended")));
  }

  /** Connects to a database that can be written to; rejects when it is not there, or takes no writes. */
  static async open(target: pg.ClientConfig, options: SessionOptions): Promise<Session> {
    const client = new pg.Client({
      ...target,
      types: types as pg.CustomTypesConfig,
      application_name: "caisson",
      connectionTimeoutMillis: CONNECT_MS,
      keepAlive: true,
      keepAliveInitialDelayMillis: KEEP_ALIVE_MS,
      statement_timeout: options.statementMs,
      idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_MS,
    });
    const session = new Session(client, options);
    try {
      await client.connect();
      const { rows } = await session.query<{ standby: boolean; read_only: string }>(
        "select pg_is_in_recovery() as standby, current_setting('transaction_read_only') as read_only",
        [],
      );
      if (rows[0]?.standby !== false || rows[0].read_only !== "off") throw databaseUnavailable("it is a standby that takes no writes");
      return session;
    } catch (error) {
      session.close();
      throw isOfConnection(error)
        ? databaseUnavailable(`no connection is to be had: ${reasonOf(error)}`, error)
        : toDatabaseFailure(error).error;
    }
  }

  /** Aborted when the connection is of no more use. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** Whether a transaction is open or broken off. */
  get inTransaction(): boolean {
    return this.#client.getTransactionStatus() !== "I";
  }

  /** Calls the listener with the payload of every notification. */
  onNotification(listener: (payload: string) => void): void {
    this.#client.on("notification", (message) => listener(message.payload ?? ""));
  }

  /** Runs one statement. */
  async query<R>(sql: string, parameters: readonly unknown[]): Promise<PostgresQueryResult<R>> {
    this.#lost.signal.throwIfAborted();
    try {
      return await this.#run<R>(sql, parameters.map(storable));
    } catch (thrown) {
      if (isOutdated(thrown) && !this.inTransaction) {
        this.#names.clear();
        return await this.query(sql, parameters);
      }
      const { error, broken } = toDatabaseFailure(thrown);
      if (broken) this.#break(thrown);
      throw error;
    }
  }

  /** By a query object and a callback: the client's way with a configuration and a promise is a third of what it costs. */
  #run<R>(sql: string, values: unknown[]): Promise<PostgresQueryResult<R>> {
    return new Promise((resolve, reject) => {
      const timer = this.#options.clock.schedule(this.#options.statementMs + GRACE_MS, () => {
        this.#break(new Error("a statement was not answered in time"));
        reject(this.#lost.signal.reason as Error);
      });
      const query = new pg.Query(sql, values, (error, result) => {
        timer.cancel();
        if (error) reject(error);
        else resolve(result as unknown as PostgresQueryResult<R>);
      });
      const name = this.#nameOf(sql);
      this.#client.query(name === undefined ? query : Object.assign(query, { name }));
    });
  }

  /**
   * The name under which the server keeps a statement parsed; about half its work for one of ours. Those beyond the bound,
   * and the first use of each, go without: a statement that is made for one number of rows is seldom seen again.
   */
  #nameOf(sql: string): string | undefined {
    const name = this.#names.get(sql);
    if (name !== undefined) return name === "" ? this.#prepare(sql) : name;
    if (this.#names.size < PREPARED) this.#names.set(sql, "");
    return undefined;
  }

  #prepare(sql: string): string {
    const name = `s${this.#names.size}_${(this.#prepared += 1)}`;
    this.#names.set(sql, name);
    return name;
  }

  /** Ends the connection at once. */
  close(): void {
    this.#break(new Error("the connection was closed"));
  }

  #break(cause: unknown): void {
    if (this.#lost.signal.aborted) return;
    this.#lost.abort(toDatabaseFailure(cause).error);
    // Politely where the server is there to hear it; the socket is broken in any case.
    this.#client.end().catch(() => undefined);
    this.#options.clock.schedule(1_000, () => streamOf(this.#client)?.destroy());
  }
}

/** A session as Kysely's driver uses it. */
export type PooledSession = PostgresPoolClient;

/** PostgreSQL has no character 0 in text. Where one comes from outside, as in the answer of a webhook, it is shown as unknown. */
function storable(value: unknown): unknown {
  return typeof value === "string" && value.includes("\0") ? value.replaceAll("\0", "\uFFFD") : value;
}

function streamOf(client: pg.Client): { destroy(): void } | undefined {
  return (client as unknown as { connection?: { stream?: { destroy(): void } } }).connection?.stream;
}
