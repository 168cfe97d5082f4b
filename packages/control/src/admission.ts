import { CaissonError, TRANSITIONAL_DEADLINES, newId, type Clock, type CreateSandbox, type Random } from "@caisson/contract";
import type { Idempotency, Reservation, SandboxRecord, Store } from "@caisson/store";
import type { ControlDefaults } from "./control-defaults.ts";
import type { Placed } from "./placement/place.ts";
import type { Placer } from "./placement/placer.ts";
import type { Refused } from "./placement/refusal.ts";
import { requestHash } from "./request-hash.ts";
import { ttlOf } from "./request-limits.ts";
import { DRIVE_MS } from "./starter.ts";
import type { WorkerDirectory } from "./workers/worker-directory.ts";

/** Longest Idempotency-Key. */
const MAX_KEY_LENGTH = 255;

/** What admission needs. */
export interface AdmissionOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly store: Store;
  readonly directory: WorkerDirectory;
  readonly placer: Placer;
  readonly defaults: ControlDefaults;
  /** Id of this control plane: it drives what it lets in. */
  readonly self: string;
}

/** A sandbox that was let in. */
export interface Admitted {
  readonly sandbox: SandboxRecord;
  /** It was made now, by this very request: nobody else has touched it. */
  readonly fresh: boolean;
}

/** Lets requests in: a repeated key is answered, else a worker is chosen and room is made. */
export class Admission {
  readonly #options: AdmissionOptions;

  constructor(options: AdmissionOptions) {
    this.#options = options;
  }

  /** The sandbox in state `creating`, or the one that the same request made before. */
  async admit(request: CreateSandbox, key: string | undefined): Promise<Admitted> {
    const { store, defaults } = this.#options;
    const idempotency = idempotencyOf(request, key);
    const before = idempotency === undefined ? undefined : await store.sandboxes.repeated(idempotency);
    if (before !== undefined) return { sandbox: settled(before), fresh: false };
    const ttlMs = ttlOf(request.ttl, defaults);
    const reservation = await this.#reserve(request, ttlMs, idempotency);
    if (reservation.kind === "full") {
      throw new CaissonError("resource_limit", `There are ${reservation.live} live sandboxes, and no more are allowed.`, {
        detail: { limit: "defaults.max_sandboxes", live: reservation.live, max: defaults.maxSandboxes },
        retryAfter: 5,
      });
    }
    return { sandbox: settled(reservation), fresh: reservation.kind === "reserved" };
  }

  /** Makes room on a worker. One that others filled or took away meanwhile is passed over, once each. */
  async #reserve(
    request: CreateSandbox,
    ttlMs: number,
    idempotency: Idempotency | undefined,
  ): Promise<Exclude<Reservation, { kind: "worker_full" }>> {
    const { clock, random, store, defaults, directory, placer, self } = this.#options;
    const passed: Refused[] = [];
    for (;;) {
      const placed: Placed = await placer.place(request, passed);
      const reserving = store.sandboxes.reserve({
        id: newId("sandbox", clock.now(), random),
        workerId: placed.workerId,
        spec: placed.spec,
        previewDomain: placed.previewDomain,
        placement: placed.record,
        bounds: placed.bounds,
        driver: { id: self, ms: DRIVE_MS },
        ownerId: request.owner_id ?? null,
        tenantId: request.tenant_id ?? null,
        env: request.env ?? {},
        metadata: request.metadata ?? {},
        ttlMs,
        deadlineMs: TRANSITIONAL_DEADLINES.creating,
        maxLive: defaults.maxSandboxes,
        ...(idempotency === undefined ? {} : { idempotency }),
      });
      const reservation = await reserving.catch((error: unknown) => {
        placer.giveUp(placed);
        throw error;
      });
      if (reservation.kind === "reserved") return reservation;
      if (reservation.kind !== "worker_full") {
        placer.giveUp(placed);
        return reservation;
      }
      directory.forget();
      const error = new CaissonError("no_capacity", "Others filled it, or took it away, at the same moment.", { retryAfter: 1 });
      passed.push({ workerId: placed.workerId, error });
    }
  }
}

function settled(reservation: Exclude<Reservation, { kind: "worker_full" | "full" }>): SandboxRecord {
  if (reservation.kind !== "key_conflict") return reservation.sandbox;
  throw new CaissonError("idempotency_conflict", "This Idempotency-Key came before with another request.");
}

function idempotencyOf(request: CreateSandbox, key: string | undefined): Idempotency | undefined {
  if (key === undefined) return undefined;
  if (key.length === 0 || key.length > MAX_KEY_LENGTH) {
    const message = `must have 1 to ${MAX_KEY_LENGTH} characters`;
    throw new CaissonError("invalid_request", `Idempotency-Key ${message}.`, { errors: [{ path: "Idempotency-Key", message }] });
  }
  return { key, requestHash: requestHash(request) };
}
