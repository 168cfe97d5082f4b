import { isTerminal, type Clock } from "@caisson/contract";
import type { ControlPlaneRecord, Store } from "@caisson/store";
import type { Hosts } from "../hosts.ts";
import type { Logger } from "../logger.ts";
import { Loop } from "../loop.ts";

/** Time between two looks at which workers are online, in ms. */
const LOOK_EVERY_MS = 1_000;
/** Sandboxes whose worker is remembered. */
const REMEMBERED = 16_384;

/** What is needed to know of them. */
export interface FarWorkersOptions {
  readonly clock: Clock;
  readonly store: Store;
  readonly hosts: Hosts;
  readonly logger: Logger;
  /** Other control planes that can be reached now. */
  readonly siblings: () => readonly ControlPlaneRecord[];
}

/**
 * Workers that are online and have no link here: another control plane may have one. Which they are is in memory, a second old
 * at most, so where every worker has a link here a request costs nothing.
 */
export class FarWorkers {
  readonly #options: FarWorkersOptions;
  readonly #loop: Loop;
  /** Undefined until the first look: then it may be any. */
  #far: Set<string> | undefined;
  /** A sandbox that has run once stays with its worker. */
  readonly #workerOf = new Map<string, string>();

  constructor(options: FarWorkersOptions) {
    this.#options = options;
    const { clock, hosts, logger } = options;
    this.#loop = new Loop({ name: "far workers", clock, logger, round: () => this.#look() });
    hosts.onChange((workerId) => {
      if (hosts.get(workerId) === undefined) this.#far?.add(workerId);
      else this.#far?.delete(workerId);
    });
  }

  /** Other control planes that may have a link which this one lacks, as they are known now. */
  get siblings(): readonly ControlPlaneRecord[] {
    return this.#options.siblings();
  }

  /** Looks until the signal is aborted. */
  run(signal: AbortSignal): Promise<void> {
    return this.#loop.run(signal);
  }

  /** The worker of a sandbox that is far, when there is anybody else to ask. Only while some worker is far, the database may be asked. */
  async far(sandboxId: string): Promise<string | undefined> {
    if (this.#far?.size === 0 || this.siblings.length === 0) return undefined;
    const workerId = await this.unlinked(sandboxId);
    return workerId === undefined || this.#far?.has(workerId) === false ? undefined : workerId;
  }

  /** The worker of a sandbox that has not ended, when it has no link here, online or not. */
  async unlinked(sandboxId: string): Promise<string | undefined> {
    const workerId = this.#workerOf.get(sandboxId) ?? (await this.#ask(sandboxId));
    return workerId === undefined || this.#options.hosts.get(workerId) !== undefined ? undefined : workerId;
  }

  async #ask(sandboxId: string): Promise<string | undefined> {
    const seen = await this.#options.store.sandboxes.get(sandboxId);
    if (seen === undefined || seen.state === "creating" || isTerminal(seen.state)) return undefined;
    for (const oldest of this.#workerOf.keys()) {
      if (this.#workerOf.size < REMEMBERED) break;
      this.#workerOf.delete(oldest);
    }
    this.#workerOf.set(sandboxId, seen.workerId);
    return seen.workerId;
  }

  async #look(): Promise<number> {
    const { hosts, store } = this.#options;
    if (this.siblings.length > 0) {
      const online = await store.workers.ids(["online", "draining"]);
      this.#far = new Set(online.filter((id) => hosts.get(id) === undefined));
    }
    return LOOK_EVERY_MS;
  }
}
