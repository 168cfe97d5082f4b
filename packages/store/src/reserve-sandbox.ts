import type { Amounts } from "@caisson/contract";
import type { Insertable, Kysely, Transaction } from "kysely";
import type { WriteParts } from "./engine.ts";
import { eventRow, type NewEvent } from "./event-repository.ts";
import { amountsOf, promiseAmounts, promising, roomFor } from "./reserved-amounts.ts";
import { decodeSandbox, encodeSandbox, type SandboxRecord } from "./sandbox-record.ts";
import type { IdempotencyKeyTable, LeaseTable, SandboxMetadataTable, SandboxTable, Tables } from "./tables.ts";
import { writeTogether } from "./write-together.ts";

/** How long an Idempotency-Key answers for its request, in ms. */
export const IDEMPOTENCY_KEY_MS = 86_400_000;

/** What is told of a sandbox before it is made. */
type Told = "id" | "workerId" | "ownerId" | "tenantId" | "placement" | "spec" | "env" | "metadata" | "previewDomain";

/** A sandbox to make room for. */
export interface ReserveSandbox extends Pick<SandboxRecord, Told> {
  /** Time to live, in ms from now. */
  readonly ttlMs: number;
  /** Time that creation may take, in ms from now. */
  readonly deadlineMs: number;
  /** Most live sandboxes; 0 for no bound. */
  readonly maxLive: number;
  /** Most that its worker may have promised with this one (0 for no bound); absent: it is not asked whether it takes any. */
  readonly bounds?: Amounts;
  /** Who drives its creation, and for how long before somebody else may, in ms. */
  readonly driver?: { readonly id: string; readonly ms: number };
  readonly idempotency?: Idempotency;
}

/** What became of a reservation. */
export type Reservation =
  | { readonly kind: "reserved"; readonly sandbox: SandboxRecord }
  /** The same request came before with this key. */
  | { readonly kind: "repeated"; readonly sandbox: SandboxRecord }
  /** Another request came before with this key. */
  | { readonly kind: "key_conflict" }
  | { readonly kind: "full"; readonly live: number }
  /** The worker has no room, or takes no sandboxes. */
  | { readonly kind: "worker_full" };

/** A key and the request it came with. */
export interface Idempotency {
  readonly key: string;
  /** SHA-256 of the request, hex. */
  readonly requestHash: string;
}

/** What a key that was used before answers; undefined when it is new or its time is over. */
export async function findRepeated(
  db: Kysely<Tables>,
  idempotency: Idempotency,
  now: number,
): Promise<Extract<Reservation, { kind: "repeated" | "key_conflict" }> | undefined> {
  const row = await db
    .selectFrom("idempotency_keys")
    .innerJoin("sandboxes", "sandboxes.id", "idempotency_keys.sandbox_id")
    .selectAll("sandboxes")
    .select("idempotency_keys.request_hash")
    .where("key", "=", idempotency.key)
    .where("idempotency_keys.expires_at", ">", now)
    .executeTakeFirst();
  if (row === undefined) return undefined;
  return row.request_hash === idempotency.requestHash ? { kind: "repeated", sandbox: decodeSandbox(row) } : { kind: "key_conflict" };
}

/** Checks key and limit, then writes sandbox, lease, key and event: all or nothing. */
export function reserveSandbox(db: Kysely<Tables>, request: ReserveSandbox, parts: WriteParts): Promise<Reservation> {
  const { clock, engine } = parts;
  if (engine.atOnce !== undefined && request.idempotency === undefined && request.maxLive === 0 && isBounded(request)) {
    return engine
      .atOnce((at) => insertAtOnce(at, request, clock.now()))
      .then((sandbox) => (sandbox === undefined ? { kind: "worker_full" } : { kind: "reserved", sandbox }));
  }
  return db.transaction().execute((trx) => checkAndInsert(trx, request, parts));
}

async function checkAndInsert(trx: Transaction<Tables>, request: ReserveSandbox, parts: WriteParts): Promise<Reservation> {
  const { clock, engine, events } = parts;
  if (request.idempotency !== undefined) {
    await engine.locks.named(trx, `idempotency key ${request.idempotency.key}`);
    const before = await findRepeated(trx, request.idempotency, clock.now());
    if (before !== undefined) return before;
  }
  if (request.maxLive > 0) {
    // Those who count wait for each other, until what the one before made can be counted.
    await engine.locks.named(trx, "most live sandboxes");
    const { live } = await trx
      .selectFrom("sandboxes")
      .select((select) => select.fn.countAll<number>().as("live"))
      .where("ended_at", "is", null)
      .executeTakeFirstOrThrow();
    if (Number(live) >= request.maxLive) return { kind: "full", live: Number(live) };
  }
  if (engine.atOnce !== undefined && isBounded(request)) {
    const sandbox = await insertAtOnce(trx, request, clock.now());
    if (sandbox === undefined) return { kind: "worker_full" };
    events.appended(trx);
    return { kind: "reserved", sandbox };
  }
  if (!(await promiseAmounts(trx, request.workerId, amountsOf(request.spec.resources), request.bounds))) return { kind: "worker_full" };
  const { record, sandbox, labels, lease, keys, event, now } = rowsOf(request, clock.now());
  await trx.insertInto("sandboxes").values(sandbox).execute();
  if (labels.length > 0) await trx.insertInto("sandbox_metadata").values(labels).execute();
  await trx.insertInto("leases").values(lease).execute();
  for (const key of keys) {
    await trx
      .insertInto("idempotency_keys")
      .values(key)
      .onConflict((old) => old.column("key").doUpdateSet(key)) // one whose time is over may still be there
      .execute();
  }
  await events.append(trx, now, event);
  return { kind: "reserved", sandbox: record };
}

/** A reservation for which its worker is asked whether it has room. */
type Bounded = ReserveSandbox & Required<Pick<ReserveSandbox, "bounds">>;

function isBounded(request: ReserveSandbox): request is Bounded {
  return request.bounds !== undefined;
}

/** The same in one statement, in which all else depends on the promise; undefined when the worker does not give it. */
async function insertAtOnce(db: Kysely<Tables>, request: Bounded, at: number): Promise<SandboxRecord | undefined> {
  const { record, sandbox, labels, lease, keys, event, now } = rowsOf(request, at);
  const amounts = amountsOf(request.spec.resources);
  const room = roomFor(amounts, request.bounds);
  const bounded = Object.keys(room);
  const { sandboxes: count, memory_mb: memory, vcpus, disk_mb: disk } = amounts;
  const update = {
    shape: `promise ${bounded.join()}`,
    values: [request.workerId, count, memory, vcpus, disk, ...Object.values(room)] as const,
    build: (workerId: string, sandboxes: number, memory_mb: number, cores: number, disk_mb: number, ...most: number[]) => {
      const bound: Partial<Amounts> = Object.fromEntries(bounded.map((name, at) => [name, most[at]]));
      return promising(db, workerId, { sandboxes, memory_mb, vcpus: cores, disk_mb }, bound).returning("id");
    },
  };
  const [label, ...others] = labels;
  const [key] = keys;
  const promised = await writeTogether(db, update, [
    { table: "sandboxes", rows: [sandbox] },
    { table: "leases", rows: [lease] },
    { table: "events", rows: [eventRow(event, now)] },
    ...(label === undefined ? [] : [{ table: "sandbox_metadata", rows: [label, ...others] } as const]),
    ...(key === undefined ? [] : [{ table: "idempotency_keys", rows: [key], replaces: "key" } as const]),
  ]);
  return promised === undefined ? undefined : record;
}

/** What a reservation writes. */
interface ReservedRows {
  readonly now: number;
  readonly record: SandboxRecord;
  readonly sandbox: Insertable<SandboxTable>;
  readonly labels: readonly Insertable<SandboxMetadataTable>[];
  readonly lease: Insertable<LeaseTable>;
  /** None or one. */
  readonly keys: readonly Insertable<IdempotencyKeyTable>[];
  readonly event: NewEvent;
}

function rowsOf(request: ReserveSandbox, now: number): ReservedRows {
  const { id, workerId, driver, idempotency, metadata } = request;
  const record: SandboxRecord = {
    id,
    version: 1,
    epoch: 1,
    state: "creating",
    reason: null,
    workerId,
    ownerId: request.ownerId,
    tenantId: request.tenantId,
    placement: request.placement,
    spec: request.spec,
    env: request.env,
    metadata,
    runtime: null,
    imageDigest: null,
    previewDomain: request.previewDomain,
    createdAt: now,
    updatedAt: now,
    startedAt: null,
    expiresAt: now + request.ttlMs,
    deadlineAt: now + request.deadlineMs,
    endedAt: null,
  };
  const { sandboxes: _, ...promised } = amountsOf(request.spec.resources);
  const { image, provider } = request.spec;
  const data = { image, provider, worker_id: workerId, placement: request.placement?.placement ?? null };
  return {
    now,
    record,
    sandbox: { ...encodeSandbox(record), driver: driver?.id ?? null, driver_until: driver === undefined ? null : now + driver.ms },
    labels: Object.entries(metadata).map(([key, value]) => ({ sandbox_id: id, key, value })),
    lease: { sandbox_id: id, worker_id: workerId, epoch: 1, acquired_at: now, ...promised },
    keys:
      idempotency === undefined
        ? []
        : [{ key: idempotency.key, request_hash: idempotency.requestHash, sandbox_id: id, expires_at: now + IDEMPOTENCY_KEY_MS }],
    event: { type: "sandbox.created", resourceId: id, sandboxId: id, data },
  };
}
