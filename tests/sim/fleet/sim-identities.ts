import { CaissonError, SCOPES } from "@caisson/contract";
import type { WorkerIdentities, WorkerIdentity } from "@caisson/control";
import type { Store } from "@caisson/store";
import type { Simulation } from "../simulation.ts";

interface Credential {
  readonly issuedAt: number;
}

/**
 * Credentials without cryptography: who has been invited, what was issued and what was revoked, in one place that all control
 * planes share, as they share the database.
 */
export class SimIdentities {
  readonly #simulation: Simulation;
  readonly #store: () => Store;
  readonly #held = new Map<string, Credential>();
  readonly #revokedAt = new Map<string, number>();
  readonly #tenants = new Map<string, string | null>();
  /** Each revocation comes after what was issued before it, in the same ms too. */
  #tick = 0;

  constructor(simulation: Simulation, store: () => Store) {
    this.#simulation = simulation;
    this.#store = store;
  }

  /** An admin adds a worker, and the worker registers. */
  async join(workerId: string, tenantId: string | null = this.#tenants.get(workerId) ?? null): Promise<void> {
    this.#tenants.set(workerId, tenantId);
    await this.#store().workers.add(workerId, { tenantId });
    this.#held.set(workerId, { issuedAt: this.#next() });
    this.#simulation.note(() => `admin  ${workerId} has joined`);
  }

  /** Whether what a worker holds is good. */
  isGood(workerId: string): boolean {
    return (this.#held.get(workerId)?.issuedAt ?? -1) > (this.#revokedAt.get(workerId) ?? -1);
  }

  /** What a worker that dials shows; `unauthorized` when it is good no more. */
  verify(workerId: string): WorkerIdentity {
    const held = this.#held.get(workerId);
    if (held === undefined || !this.isGood(workerId)) {
      throw new CaissonError("unauthorized", `simulated: the credential of ${workerId} is good no more`);
    }
    return {
      workerId,
      credential: "certificate",
      tenantId: this.#tenants.get(workerId) ?? null,
      scopes: new Set(SCOPES),
      keyThumbprint: workerId,
      expiresAt: null,
      issuedAt: held.issuedAt,
      keyId: null,
    };
  }

  /** As one control plane has them: with calls that take the time of a query. */
  of(query: <T>(work: () => T) => Promise<T>): Pick<WorkerIdentities, "revoke" | "stillGood" | "challenge" | "renew"> {
    return {
      revoke: (workerId) => query(() => void this.#revokedAt.set(workerId, this.#next())),
      stillGood: ({ workerId, issuedAt }) => query(() => (issuedAt ?? 0) > (this.#revokedAt.get(workerId) ?? -1)),
      challenge: () => query(() => "simulated"),
      renew: ({ workerId }) => query(() => this.verify(workerId)),
    };
  }

  #next(): number {
    this.#tick += 1;
    return this.#tick;
  }
}
