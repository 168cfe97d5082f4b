import type { Kysely } from "kysely";
import type { Tables } from "./tables.ts";

/** How much history is kept. */
export interface Retention {
  /** Ended sandboxes are shown for this long, in ms. Default 7 days. */
  readonly endedMs: number;
  /** Events are kept for this long, in ms. Default 7 days. */
  readonly eventMs: number;
  /** Most events kept. Default 100 000. */
  readonly eventCount: number;
  /** Ended processes are kept in the exec log for this long, in ms. Default 7 days. */
  readonly execLogMs: number;
  /** Processes kept in the exec log for each sandbox, the newest. Default 10 000. */
  readonly execLogCount: number;
  /** Finished messages to webhooks are kept for this long, in ms. Default 7 days. */
  readonly deliveryMs: number;
}

/** The defaults of `Retention`. */
export const DEFAULT_RETENTION: Retention = {
  endedMs: 7 * 86_400_000,
  eventMs: 7 * 86_400_000,
  eventCount: 100_000,
  execLogMs: 7 * 86_400_000,
  execLogCount: 10_000,
  deliveryMs: 7 * 86_400_000,
};

/** Rows removed in one transaction, so that others never wait long. */
const BATCH = 500;

/** What a purge removed. */
export interface Purged {
  readonly sandboxes: number;
  readonly keys: number;
  readonly events: number;
  readonly processes: number;
  readonly deliveries: number;
  /** There is more: call again. */
  readonly more: boolean;
}

/**
 * Removes one batch of what is older than the retention. A sandbox whose lease still exists is kept, however old: its
 * worker may hold something of it. Its key and labels go with it.
 */
export async function purge(db: Kysely<Tables>, now: number, retention: Retention): Promise<Purged> {
  const keys = await removeKeys(db, now);
  const sandboxes = await removeSandboxes(db, now - retention.endedMs);
  const events = await removeEvents(db, now - retention.eventMs, retention.eventCount);
  const processes = await removeProcesses(db, now - retention.execLogMs, retention.execLogCount);
  const deliveries = await removeDeliveries(db, now - retention.deliveryMs);
  await removeWorkers(db, now - retention.endedMs);
  const most = Math.max(sandboxes, keys, events, processes, deliveries);
  return { sandboxes, keys, events, processes, deliveries, more: most >= BATCH };
}

async function removeKeys(db: Kysely<Tables>, before: number): Promise<number> {
  const rows = await db.selectFrom("idempotency_keys").select("key").where("expires_at", "<=", before).limit(BATCH).execute();
  if (rows.length === 0) return 0;
  const result = await db
    .deleteFrom("idempotency_keys")
    .where(
      "key",
      "in",
      rows.map((row) => row.key),
    )
    .where("expires_at", "<=", before)
    .executeTakeFirst();
  return Number(result.numDeletedRows);
}

async function removeSandboxes(db: Kysely<Tables>, before: number): Promise<number> {
  const rows = await db
    .selectFrom("sandboxes")
    .select("id")
    .where("ended_at", "<=", before)
    .where((where) =>
      where.not(where.exists(where.selectFrom("leases").select("leases.sandbox_id").whereRef("leases.sandbox_id", "=", "sandboxes.id"))),
    )
    .orderBy("ended_at")
    .limit(BATCH)
    .execute();
  if (rows.length === 0) return 0;
  const result = await db
    .deleteFrom("sandboxes")
    .where(
      "id",
      "in",
      rows.map((row) => row.id),
    )
    .executeTakeFirst();
  return Number(result.numDeletedRows);
}

/** Removes from the beginning only, so that the oldest position that is kept tells what is not; the newest always stays. */
async function removeEvents(db: Kysely<Tables>, before: number, count: number): Promise<number> {
  const { newest, first } = await db
    .selectNoFrom((where) => [
      where
        .selectFrom("events")
        .select((of) => of.fn.max<number | null>("seq").as("seq"))
        .as("newest"),
      where
        .selectFrom("events")
        .select((of) => of.fn.min<number | null>("seq").as("seq"))
        .where("at", ">=", before)
        .as("first"),
    ])
    .executeTakeFirstOrThrow();
  if (newest === null) return 0;
  const keep = Math.min(newest, Math.max(first ?? newest, newest - count + 1));
  const rows = await db.selectFrom("events").select("seq").where("seq", "<", keep).orderBy("seq").limit(BATCH).execute();
  const last = rows.at(-1);
  if (last === undefined) return 0;
  const result = await db.deleteFrom("events").where("seq", "<=", last.seq).executeTakeFirst();
  return Number(result.numDeletedRows);
}

/** Removes ended processes that are too old, and of each sandbox those below the newest `count`. */
async function removeProcesses(db: Kysely<Tables>, before: number, count: number): Promise<number> {
  const old = await db
    .selectFrom("exec_log")
    .select(["sandbox_id", "process_id"])
    .where("ended_at", "<", before)
    .orderBy("ended_at")
    .limit(BATCH)
    .execute();
  // Ids of a sandbox grow by one, so their span bounds how many there are.
  const long = await db
    .selectFrom("exec_log")
    .select((of) => ["sandbox_id", of.fn.max<number>("process_id").as("newest")])
    .groupBy("sandbox_id")
    .having((of) => of(of.fn.max("process_id"), ">=", of(of.fn.min("process_id"), "+", count)))
    .execute();
  const surplus = await Promise.all(
    long.map((row) =>
      db
        .selectFrom("exec_log")
        .select(["sandbox_id", "process_id"])
        .where("sandbox_id", "=", row.sandbox_id)
        .where("process_id", "<=", row.newest - count)
        .where("ended_at", "is not", null)
        .limit(BATCH)
        .execute(),
    ),
  );
  const rows = [...old, ...surplus.flat()].slice(0, BATCH);
  if (rows.length === 0) return 0;
  return db.transaction().execute(async (trx) => {
    let removed = 0n;
    for (const row of rows) {
      const one = trx.deleteFrom("exec_log").where("sandbox_id", "=", row.sandbox_id).where("process_id", "=", row.process_id);
      removed += (await one.executeTakeFirst()).numDeletedRows;
    }
    return Number(removed);
  });
}

/** Removes workers that were removed long ago, once no lease names them. */
async function removeWorkers(db: Kysely<Tables>, before: number): Promise<void> {
  await db
    .deleteFrom("workers")
    .where("state", "=", "removed")
    .where("updated_at", "<=", before)
    .where((where) =>
      where.not(where.exists(where.selectFrom("leases").select("leases.sandbox_id").whereRef("leases.worker_id", "=", "workers.id"))),
    )
    .execute();
}

async function removeDeliveries(db: Kysely<Tables>, before: number): Promise<number> {
  const rows = await db
    .selectFrom("webhook_deliveries")
    .select("seq")
    .where("created_at", "<", before)
    .where("status", "!=", "pending")
    .limit(BATCH)
    .execute();
  if (rows.length === 0) return 0;
  const result = await db
    .deleteFrom("webhook_deliveries")
    .where(
      "seq",
      "in",
      rows.map((row) => row.seq),
    )
    .executeTakeFirst();
  return Number(result.numDeletedRows);
}
