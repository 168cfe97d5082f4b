import type { Clock } from "@caisson/contract";
import { DEFAULT_RETENTION, type Retention, type Store } from "@caisson/store";
import type { Logger } from "./logger.ts";
import { Loop } from "./loop.ts";

/** Time between two looks for old history, in ms. */
const EVERY_MS = 600_000;
/** When it first looks, in ms: a server that starts has better things to do. */
const FIRST_MS = 60_000;
/** Rest between two batches, in ms: others wait for the database meanwhile. */
const BATCH_REST_MS = 1_000;

/** What a purger needs. */
export interface PurgerOptions {
  readonly clock: Clock;
  readonly store: Store;
  readonly logger: Logger;
  readonly retention?: Retention;
}

/** Removes old history, batch by batch; of all control planes that share a database one does. */
export class Purger {
  readonly #options: PurgerOptions;
  readonly #loop: Loop;
  #first = true;

  constructor(options: PurgerOptions) {
    this.#options = options;
    this.#loop = new Loop({ name: "purger", clock: options.clock, logger: options.logger, round: () => this.#round() });
  }

  /** Runs until the signal is aborted. */
  run(signal: AbortSignal): Promise<void> {
    return this.#options.store.singleton("purge", (mine) => this.#loop.run(mine), signal);
  }

  async #round(): Promise<number> {
    const { store, logger, retention = DEFAULT_RETENTION } = this.#options;
    if (this.#first) {
      this.#first = false;
      return FIRST_MS;
    }
    const purged = await store.purge(retention);
    logger.debug({ ...purged }, "old history was removed");
    return purged.more ? BATCH_REST_MS : EVERY_MS;
  }
}
