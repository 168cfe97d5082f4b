import { MOST_CONTROL_PLANES, type Clock, type HeartbeatReply } from "@caisson/contract";
import type { ControlPlaneRecord, Store } from "@caisson/store";
import type { Logger } from "../logger.ts";
import { Loop } from "../loop.ts";

/** Time between two signs of life, in ms. */
const ALIVE_EVERY_MS = 5_000;
/** Silence after which a control plane is dead, in ms. */
const DEAD_AFTER_MS = 20_000;
/** Builds that know nothing of requests that are passed on. */
const TAKES_NONE = /^0\.1\./;

/** What a registry needs. */
export interface ControlPlaneRegistryOptions {
  readonly clock: Clock;
  readonly store: Store;
  readonly logger: Logger;
  readonly self: ControlPlaneRecord;
  /** Other control planes have ended or died. */
  readonly gone: (ids: readonly string[]) => void;
}

/** Keeps the row of this control plane alive and knows the others. */
export class ControlPlaneRegistry {
  readonly #options: ControlPlaneRegistryOptions;
  readonly #loop: Loop;
  #alive: readonly ControlPlaneRecord[] = [];

  constructor(options: ControlPlaneRegistryOptions) {
    this.#options = options;
    this.#loop = new Loop({ name: "control planes", clock: options.clock, logger: options.logger, round: () => this.#round() });
  }

  /**
   * Control planes that workers can reach, this one first. One that restarts all the time is in the list with each of its lives
   * for a while; workers must not lose all of them for that.
   */
  get reachable(): HeartbeatReply["control_planes"] {
    const { self } = this.#options;
    const reachable = this.#alive.filter(({ url }) => url !== "");
    const ordered = [...reachable.filter(({ id }) => id === self.id), ...reachable.filter(({ id }) => id !== self.id)];
    return ordered.slice(0, MOST_CONTROL_PLANES).map(({ id, url }) => ({ id, url }));
  }

  /** Other control planes that this one can reach and pass requests on to. */
  get siblings(): readonly ControlPlaneRecord[] {
    const { self } = this.#options;
    // What was at its own address is itself, a life before, or whoever a balancer chooses.
    return this.#alive.filter(({ id, url, build }) => id !== self.id && url !== "" && url !== self.url && !TAKES_NONE.test(build));
  }

  /** The first sign of life, and then again and again until the signal is aborted; then the row is removed. */
  async run(signal: AbortSignal): Promise<void> {
    await this.#loop.run(signal);
    await this.#options.store.controlPlanes.remove(this.#options.self.id).catch(() => undefined); // it is dead in 20 s anyway
  }

  async #round(): Promise<number> {
    const { self, store } = this.#options;
    const before = this.#alive;
    this.#alive = await store.controlPlanes.keepAlive(self, DEAD_AFTER_MS);
    const gone = before.filter(({ id }) => !this.#alive.some((one) => one.id === id));
    if (gone.length > 0) this.#options.gone(gone.map(({ id }) => id));
    return ALIVE_EVERY_MS;
  }
}
