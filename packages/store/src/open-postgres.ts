import { randomUUID } from "node:crypto";
import { isCaissonError, type Clock } from "@caisson/contract";
import { Kysely, PostgresDialect } from "kysely";
import type { Engine } from "./engine.ts";
import { migrate } from "./migrations.ts";
import { POSTGRES_FLAVOUR } from "./migrations/flavour.ts";
import { Connector } from "./postgres/connector.ts";
import { isRefusal } from "./postgres/database-error.ts";
import { DatabaseClock } from "./postgres/database-clock.ts";
import { LazyOrder } from "./postgres/lazy-order.ts";
import { parseDsn } from "./postgres/parse-dsn.ts";
import { lazyPostgresTransaction, PostgresDatabase } from "./postgres/postgres-database.ts";
import { POSTGRES_LOCKS } from "./postgres/postgres-locks.ts";
import { SessionPool } from "./postgres/session-pool.ts";
import { SideSession } from "./postgres/side-session.ts";
import type { StoreClock } from "./store-clock.ts";
import { KyselyStore, type Store } from "./store.ts";

/** Longest time of one statement, in ms. */
const STATEMENT_MS = 10_000;
/** Longest time of one statement of a migration, and of waiting for another control plane that migrates, in ms. */
const MIGRATION_MS = 600_000;
/** How long a database may be away while one starts, in ms. */
const OPEN_MS = 15_000;
const RETRY_MS = 250;
/** What all control planes listen to. */
const CHANNEL = "caisson_events";
/** Time between two looks for events without a place, in ms, so that the first reader after a long while finds few. */
const SETTLE_EVERY_MS = 30_000;

/** How a PostgreSQL is opened. */
export interface PostgresOptions {
  /** Its address, as `parseDsn` reads it. */
  readonly dsn: string;
  /** Most connections at a time, one for notifications and locks not counted. Default 20. */
  readonly maxConnections?: number;
  /** Time of this process. */
  readonly clock: Clock;
  /** Time of all that is stored. Default: the database's own. */
  readonly time?: StoreClock;
}

/** A store that other control planes share, and its time, which they share too. */
export type PostgresStore = Store & { readonly clock: Clock };

/**
 * Opens a PostgreSQL and brings it to the newest schema; of several that do so at once, one migrates and the others wait.
 * `invalid_request` for an address that cannot be read, `database_unavailable` when nobody serves there within 15 s.
 */
export async function openPostgres(options: PostgresOptions): Promise<PostgresStore> {
  const { clock, maxConnections = 20 } = options;
  const connector = new Connector(parseDsn(options.dsn), clock);
  await patiently(clock, () => migrated(connector, clock));

  const self = randomUUID();
  const pool = new SessionPool({ connector, clock, max: maxConnections, statementMs: STATEMENT_MS });
  const db = new PostgresDatabase({ pool, sleep: (ms) => clock.sleep(ms), committed: (trx) => order.committed(trx) });
  const notify = (): Promise<unknown> =>
    // Nothing is lost when this is lost: it need not wait for the disk.
    pool.query("select set_config('synchronous_commit', 'off', true), pg_notify($1, $2)", [CHANNEL, self]);
  const order = new LazyOrder(db, clock, notify);
  let shared: DatabaseClock;
  try {
    shared = await DatabaseClock.start(clock, async () => {
      const { rows } = await pool.query<{ now: number }>("select (extract(epoch from clock_timestamp()) * 1000)::float8 as now");
      return rows[0]?.now ?? clock.now();
    });
  } catch (error) {
    await db.destroy();
    throw error;
  }
  const side = new SideSession({
    connector,
    clock,
    channel: CHANNEL,
    heard: (payload) => {
      if (payload !== self) order.ring();
    },
    listening: () => order.ring(),
  });
  await side.tried;
  const stopSettling = every(clock, SETTLE_EVERY_MS, () => order.settle());
  const engine: Engine = {
    lazily: lazyPostgresTransaction(db),
    order,
    locks: POSTGRES_LOCKS,
    singleton: (name, run, signal) => side.singleton(name, run, signal),
    atOnce: async (run) => {
      const result = await db.retried(() => run(db));
      if (result !== undefined) order.told();
      return result;
    },
    close: async () => {
      stopSettling();
      shared.stop();
      await side.close();
    },
  };
  return Object.assign(new KyselyStore(db, options.time ?? shared, engine), { clock: shared });
}

/** Connections to a PostgreSQL that was brought to the newest schema, for whoever needs no store. */
export async function openPostgresDatabase(
  dsn: string,
  clock: Clock,
  options: { readonly max: number; readonly statementMs: number },
): Promise<SessionPool> {
  const connector = new Connector(parseDsn(dsn), clock);
  await patiently(clock, () => migrated(connector, clock));
  return new SessionPool({ connector, clock, ...options });
}

async function migrated(connector: Connector, clock: Clock): Promise<void> {
  const pool = new SessionPool({ connector, clock, max: 2, statementMs: MIGRATION_MS });
  const db = new Kysely<never>({ dialect: new PostgresDialect({ pool }) });
  try {
    await migrate(db, POSTGRES_FLAVOUR);
  } finally {
    await db.destroy();
  }
}

/** Tries again for a while what the database's absence makes fail. */
async function patiently(clock: Clock, work: () => Promise<void>): Promise<void> {
  const until = clock.monotonic() + OPEN_MS;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!isCaissonError(error, "database_unavailable") || isRefusal(error.cause) || clock.monotonic() > until) throw error;
      await clock.sleep(RETRY_MS);
    }
  }
}

function every(clock: Clock, ms: number, work: () => Promise<void>): () => void {
  let stopped = false;
  let timer = clock.schedule(ms, function round() {
    void work()
      .catch(() => undefined) // done by whoever reads next
      .then(() => {
        if (!stopped) timer = clock.schedule(ms, round);
      });
  });
  return () => {
    stopped = true;
    timer.cancel();
  };
}
