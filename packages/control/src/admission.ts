import { CaissonError, TRANSITIONAL_DEADLINES, newId, type Clock, type CreateSandbox, type Random } from "@caisson/contract";
import type { Idempotency, SandboxRecord, Store } from "@caisson/store";
import type { ControlDefaults } from "./control-defaults.ts";
import type { HostDirectory } from "./host-directory.ts";
import { place, ttlOf } from "./placement.ts";
import { requestHash } from "./request-hash.ts";

/** Longest Idempotency-Key. */
const MAX_KEY_LENGTH = 255;

/** What admission needs. */
export interface AdmissionOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly store: Store;
  readonly directory: HostDirectory;
  readonly defaults: ControlDefaults;
}

/** Lets requests in: a repeated key is answered, else a worker is chosen and room is made. */
export class Admission {
  readonly #options: AdmissionOptions;

  constructor(options: AdmissionOptions) {
    this.#options = options;
  }

  /** The sandbox in state `creating`, or the one that the same request made before. */
  async admit(request: CreateSandbox, key: string | undefined): Promise<SandboxRecord> {
    const { clock, random, store, directory, defaults } = this.#options;
    const idempotency = idempotencyOf(request, key);
    const before = idempotency === undefined ? undefined : await store.sandboxes.repeated(idempotency);
    const ttlMs = before === undefined ? ttlOf(request.ttl, defaults) : 0;
    const reservation =
      before ??
      (await store.sandboxes.reserve({
        ...place(request, defaults, await directory.describeAll(), await store.sandboxes.load()),
        id: newId("sandbox", clock.now(), random),
        ownerId: request.owner_id ?? null,
        tenantId: request.tenant_id ?? null,
        placement: null,
        env: request.env ?? {},
        metadata: request.metadata ?? {},
        ttlMs,
        deadlineMs: TRANSITIONAL_DEADLINES.creating,
        maxLive: defaults.maxSandboxes,
        ...(idempotency === undefined ? {} : { idempotency }),
      }));
    switch (reservation.kind) {
      case "reserved":
      case "repeated":
        return reservation.sandbox;
      case "key_conflict":
        throw new CaissonError("idempotency_conflict", "This Idempotency-Key came before with another request.");
      case "full":
        throw new CaissonError("resource_limit", `There are ${reservation.live} live sandboxes, and no more are allowed.`, {
          detail: { limit: "defaults.max_sandboxes", live: reservation.live, max: defaults.maxSandboxes },
          retryAfter: 5,
        });
      default:
        return reservation satisfies never;
    }
  }
}

function idempotencyOf(request: CreateSandbox, key: string | undefined): Idempotency | undefined {
  if (key === undefined) return undefined;
  if (key.length === 0 || key.length > MAX_KEY_LENGTH) {
    const message = `must have 1 to ${MAX_KEY_LENGTH} characters`;
    throw new CaissonError("invalid_request", `Idempotency-Key ${message}.`, { errors: [{ path: "Idempotency-Key", message }] });
  }
  return { key, requestHash: requestHash(request) };
}
