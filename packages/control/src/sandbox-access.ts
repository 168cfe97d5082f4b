import {
  CaissonError,
  isCaissonError,
  isRouted,
  isTerminal,
  toCaissonError,
  type ChannelOpener,
  type SandboxHost,
} from "@caisson/contract";
import type { Guest } from "@caisson/guest";
import type { SandboxRecord, Store } from "@caisson/store";
import type { ExpectedWorkers } from "./expected-workers.ts";
import type { Hosts } from "./hosts.ts";
import type { Logger } from "./logger.ts";
import { sandboxEnded, sandboxNotFound, workerUnavailable } from "./sandbox-errors.ts";
import type { StateWriter } from "./state-writer.ts";

/** What access to sandboxes needs. */
export interface SandboxAccessOptions {
  readonly store: Store;
  readonly hosts: Hosts;
  readonly expected: ExpectedWorkers;
  readonly states: StateWriter;
  readonly logger: Logger;
  readonly guestOf: (opener: ChannelOpener) => Guest;
  /** Asks a worker about one of its sandboxes that gave trouble, and writes what it says. */
  readonly recheck: (seen: SandboxRecord) => Promise<void>;
}

/** From an id to the row, the worker and the guest behind it, with the error that says why there is no way. */
export class SandboxAccess {
  readonly #options: SandboxAccessOptions;

  constructor(options: SandboxAccessOptions) {
    this.#options = options;
  }

  /** A sandbox, ended or not. */
  async record(id: string): Promise<SandboxRecord> {
    const record = await this.#options.store.sandboxes.get(id);
    if (record === undefined) throw sandboxNotFound(id);
    return record;
  }

  /** A sandbox that has not ended. */
  async unended(id: string): Promise<SandboxRecord> {
    const seen = await this.record(id);
    if (isTerminal(seen.state)) throw sandboxEnded(seen);
    return seen;
  }

  /** Waits a moment where the worker of a sandbox is about to come back; what there is then is for the caller to see. */
  async awaited(seen: SandboxRecord, signal?: AbortSignal): Promise<void> {
    if (isRouted(seen.state)) await this.#options.expected.one(seen.workerId, signal);
  }

  /** The worker to route to. */
  routed(seen: SandboxRecord): SandboxHost {
    if (isTerminal(seen.state)) throw sandboxEnded(seen);
    if (seen.state === "missing") throw workerUnavailable(seen);
    if (!isRouted(seen.state)) {
      throw new CaissonError("state_conflict", `The sandbox is ${seen.state}; it must be running.`, { detail: { state: seen.state } });
    }
    return this.hostOf(seen);
  }

  /** The way to the worker of a sandbox. */
  hostOf(seen: SandboxRecord): SandboxHost {
    const host = this.#options.hosts.get(seen.workerId);
    if (host === undefined) throw workerUnavailable(seen);
    return host;
  }

  /** The client of the agent in a sandbox. */
  guestOf(seen: SandboxRecord): Guest {
    return this.#options.guestOf(this.hostOf(seen).guest({ sandboxId: seen.id, epoch: seen.epoch }));
  }

  /** Its agent answered again. What was done in it is done, whether or not this can be written. */
  async recovered(seen: SandboxRecord): Promise<void> {
    try {
      await this.#options.states.observe(seen, "agent_back");
    } catch (error) {
      this.#options.logger.warn({ sandbox_id: seen.id, outcome: toCaissonError(error).code, err: error }, "a recovery was not written");
    }
  }

  /** What a failure in a guest says of the sandbox, and what to tell the caller. */
  async doubt(seen: SandboxRecord, error: unknown): Promise<unknown> {
    if (!isCaissonError(error, "agent_unreachable", "sandbox_not_found", "lease_lost", "worker_unavailable")) return error;
    await this.#options.recheck(seen);
    const now = await this.#options.store.sandboxes.get(seen.id);
    if (now !== undefined && isTerminal(now.state)) return sandboxEnded(now, error);
    if (isCaissonError(error, "agent_unreachable", "worker_unavailable")) return error;
    return new CaissonError("agent_unreachable", "The worker of the sandbox does not find it now.", { cause: error, retryAfter: 1 });
  }
}
