import { toCaissonError, type Clock } from "@caisson/contract";
import type { SandboxRecord, Store } from "@caisson/store";
import type { Hosts } from "./hosts.ts";
import type { Logger } from "./logger.ts";
import { SingleFlight } from "./single-flight.ts";
import { withDeadline } from "./with-deadline.ts";

/** Time a worker has to end a box, in ms. Reconciliation tries again. */
export const DESTROY_DEADLINE_MS = 30_000;

/** What a cleaner needs. */
export interface CleanerOptions {
  readonly clock: Clock;
  readonly store: Store;
  readonly hosts: Hosts;
  /** Whether a worker counts as unreachable or removed. */
  readonly isGone: (workerId: string) => Promise<boolean>;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/**
 * Removes from workers what ended sandboxes left, and then their leases. A lease ends when its worker confirmed, or when that
 * worker is gone: what it still has is then destroyed by epoch when it returns.
 */
export class Cleaner {
  readonly #options: CleanerOptions;
  readonly #running = new SingleFlight<boolean>();

  constructor(options: CleanerOptions) {
    this.#options = options;
  }

  /** Cleans up an ended sandbox by its present epoch, which fences every start before it. Whether it is done; never rejects. */
  clean(sandbox: Pick<SandboxRecord, "id" | "epoch" | "workerId">): Promise<boolean> {
    return this.#running.run(`${sandbox.id} ${sandbox.epoch}`, async () => {
      try {
        const gone = await this.#options.isGone(sandbox.workerId);
        if (!gone && !(await this.destroyBox(sandbox.workerId, sandbox.id, sandbox.epoch))) return false;
        await this.#options.store.leases.release(sandbox.id, sandbox.epoch);
        return true;
      } catch (error) {
        this.#warn(sandbox.workerId, sandbox.id, error, "a lease could not be released");
        return false;
      }
    });
  }

  /** Destroys a box that nobody owns. Never rejects. */
  async destroyOrphan(workerId: string, sandboxId: string, epoch: number): Promise<void> {
    await this.#running.run(`orphan ${workerId} ${sandboxId} ${epoch}`, () => this.destroyBox(workerId, sandboxId, epoch));
  }

  /** Has a worker destroy what it has of a sandbox up to an epoch; whether it confirmed. Never rejects. */
  async destroyBox(workerId: string, sandboxId: string, epoch: number): Promise<boolean> {
    const { clock, hosts, signal } = this.#options;
    const host = hosts.get(workerId);
    if (host === undefined) return false;
    try {
      const deadline = { clock, ms: DESTROY_DEADLINE_MS, what: "the end of the box", signal };
      await withDeadline(deadline, (inner) => host.destroy({ sandboxId, epoch }, inner));
      return true;
    } catch (error) {
      this.#warn(workerId, sandboxId, error, "a box could not be destroyed; it will be tried again");
      return false;
    }
  }

  /** Resolves when what runs now is done. */
  idle(): Promise<void> {
    return this.#running.idle();
  }

  #warn(workerId: string, sandboxId: string, error: unknown, message: string): void {
    if (this.#options.signal.aborted) return;
    this.#options.logger.warn({ worker_id: workerId, sandbox_id: sandboxId, outcome: toCaissonError(error).code, err: error }, message);
  }
}
