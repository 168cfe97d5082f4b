import {
  Kysely,
  PostgresDialect,
  sql,
  type AbortableQueryOptions,
  type Compilable,
  type CompiledQuery,
  type QueryResult,
  type Transaction,
  type TransactionBuilder,
} from "kysely";
import type { LazyTransaction } from "../lazy-transaction.ts";
import type { Tables } from "../tables.ts";
import { databaseUnavailable, isRetriable } from "./database-error.ts";
import type { SessionPool } from "./session-pool.ts";

/** Times a transaction is run that always loses against others. */
const ATTEMPTS = 8;
/** Longest rest before it is run again, in ms; each one doubles it. */
const REST_MS = 10;

/** What a database needs besides its connections. */
export interface PostgresDatabaseOptions {
  readonly pool: SessionPool;
  readonly sleep: (ms: number) => Promise<void>;
  /** Called after each transaction that was committed. */
  readonly committed: (trx: Transaction<Tables>) => void;
}

/**
 * Kysely over PostgreSQL. A transaction that lost against another one (a deadlock, a conflict of serialisation) has left
 * nothing, and is run again: what is done in one must be of no consequence outside before it resolves.
 */
export class PostgresDatabase extends Kysely<Tables> {
  readonly #options: PostgresDatabaseOptions;

  constructor(options: PostgresDatabaseOptions) {
    super({ dialect: new PostgresDialect({ pool: options.pool }) });
    this.#options = options;
  }

  /** A statement that is compiled goes to a connection at once: Kysely's own way there costs as much as the statement. */
  override executeQuery<R>(query: CompiledQuery<R> | Compilable<R>, options?: AbortableQueryOptions): Promise<QueryResult<R>> {
    if (options !== undefined) return super.executeQuery(query, options);
    const { sql: text, parameters } = "compile" in query ? query.compile() : query;
    return this.#options.pool.query<R>(text, parameters);
  }

  override transaction(): TransactionBuilder<Tables> {
    const builder = super.transaction();
    return this.#retrying(builder);
  }

  #retrying(builder: TransactionBuilder<Tables>): TransactionBuilder<Tables> {
    return new Proxy(builder, {
      get: (target, key) => {
        if (key === "execute") return <T>(run: (trx: Transaction<Tables>) => Promise<T>) => this.#execute(target, run);
        if (key === "setIsolationLevel")
          return (...given: Parameters<typeof target.setIsolationLevel>) => this.#retrying(target.setIsolationLevel(...given));
        if (key === "setAccessMode")
          return (...given: Parameters<typeof target.setAccessMode>) => this.#retrying(target.setAccessMode(...given));
        throw new Error(`a transaction has no ${String(key)} here`);
      },
    });
  }

  #execute<T>(builder: TransactionBuilder<Tables>, run: (trx: Transaction<Tables>) => Promise<T>): Promise<T> {
    return this.retried(async () => {
      let transaction: Transaction<Tables> | undefined;
      const result = await builder.execute((trx) => {
        transaction = trx;
        return run(trx);
      });
      if (transaction !== undefined) this.#options.committed(transaction);
      return result;
    });
  }

  /** Runs a transaction, or a statement that is one by itself, again while it loses against others. */
  async retried<T>(run: () => Promise<T>): Promise<T> {
    let rest = REST_MS;
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await run();
      } catch (error) {
        if (!isRetriable(error)) throw error;
        if (attempt === ATTEMPTS) throw databaseUnavailable("others change the same things all the time", error);
        await this.#options.sleep(Math.random() * rest);
        rest *= 2;
      }
    }
  }
}

/** PostgreSQL's: the commit does not wait for the disk. It survives a crash of our process, and mostly of the server's. */
export function lazyPostgresTransaction(db: Kysely<Tables>): LazyTransaction {
  return (run) =>
    db.transaction().execute(async (trx) => {
      await sql`set local synchronous_commit = off`.execute(trx);
      return run(trx);
    });
}
