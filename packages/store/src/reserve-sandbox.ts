import type { Amounts } from "@caisson/contract";
import type { Kysely, Transaction } from "kysely";
import type { EventRepository } from "./event-repository.ts";
import type { Locks } from "./locks.ts";
import { amountsOf, promiseAmounts } from "./reserved-amounts.ts";
import { decodeSandbox, encodeSandbox, type PlacementRecord, type SandboxRecord, type SandboxSpec } from "./sandbox-record.ts";
import type { StoreClock } from "./sandbox-repository.ts";
import type { Tables } from "./tables.ts";

/** How long an Idempotency-Key answers for its request, in ms. */
export const IDEMPOTENCY_KEY_MS = 86_400_000;

/** A sandbox to make room for. */
export interface ReserveSandbox {
  readonly id: string;
  readonly workerId: string;
  readonly ownerId: string | null;
  readonly tenantId: string | null;
  readonly placement: PlacementRecord | null;
  readonly spec: SandboxSpec;
  readonly env: Readonly<Record<string, string>>;
  readonly metadata: Readonly<Record<string, string>>;
  readonly previewDomain: string | null;
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

/** Checks key and limit, then writes sandbox, lease, key and event: all or nothing, in the transaction given. */
export async function reserveSandbox(
  trx: Transaction<Tables>,
  request: ReserveSandbox,
  clock: StoreClock,
  events: EventRepository,
  locks: Locks,
): Promise<Reservation> {
  if (request.idempotency !== undefined) {
    await locks.named(trx, `idempotency key ${request.idempotency.key}`);
    const before = await findRepeated(trx, request.idempotency, clock.now());
    if (before !== undefined) return before;
  }
  if (request.maxLive > 0) {
    // Those who count wait for each other, until what the one before made can be counted.
    await locks.named(trx, "most live sandboxes");
    const { live } = await trx
      .selectFrom("sandboxes")
      .select((select) => select.fn.countAll<number>().as("live"))
      .where("ended_at", "is", null)
      .executeTakeFirstOrThrow();
    if (Number(live) >= request.maxLive) return { kind: "full", live: Number(live) };
  }
  if (!(await promiseAmounts(trx, request.workerId, amountsOf(request.spec.resources), request.bounds))) return { kind: "worker_full" };
  const now = clock.now();
  const sandbox = await insertSandbox(trx, request, now);
  const { image, provider } = request.spec;
  const data = { image, provider, worker_id: request.workerId, placement: request.placement?.placement ?? null };
  await events.append(trx, now, { type: "sandbox.created", resourceId: request.id, sandboxId: request.id, data });
  return { kind: "reserved", sandbox };
}

async function insertSandbox(trx: Transaction<Tables>, request: ReserveSandbox, now: number): Promise<SandboxRecord> {
  const record: SandboxRecord = {
    id: request.id,
    version: 1,
    epoch: 1,
    state: "creating",
    reason: null,
    workerId: request.workerId,
    ownerId: request.ownerId,
    tenantId: request.tenantId,
    placement: request.placement,
    spec: request.spec,
    env: request.env,
    metadata: request.metadata,
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
  const { driver } = request;
  await trx
    .insertInto("sandboxes")
    .values({ ...encodeSandbox(record), driver: driver?.id ?? null, driver_until: driver === undefined ? null : now + driver.ms })
    .execute();
  const labels = Object.entries(request.metadata);
  if (labels.length > 0) {
    await trx
      .insertInto("sandbox_metadata")
      .values(labels.map(([key, value]) => ({ sandbox_id: request.id, key, value })))
      .execute();
  }
  const { sandboxes: _, ...promised } = amountsOf(request.spec.resources);
  await trx
    .insertInto("leases")
    .values({ sandbox_id: request.id, worker_id: request.workerId, epoch: 1, acquired_at: now, ...promised })
    .execute();
  if (request.idempotency !== undefined) {
    // One whose time is over may still be there.
    await trx.deleteFrom("idempotency_keys").where("key", "=", request.idempotency.key).execute();
    await trx
      .insertInto("idempotency_keys")
      .values({
        key: request.idempotency.key,
        request_hash: request.idempotency.requestHash,
        sandbox_id: request.id,
        expires_at: now + IDEMPOTENCY_KEY_MS,
      })
      .execute();
  }
  return record;
}
