import { toCaissonError, type Clock } from "@caisson/contract";
import type { Logger } from "./logger.ts";

/** A round that failed is tried again after this time, in ms. */
const RETRY_MS = 1_000;

/** What a loop needs. */
export interface LoopOptions {
  readonly name: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** One round; returns how long to rest after it, in ms. */
  readonly round: (signal: AbortSignal) => Promise<number>;
}

/** Calls `round` again and again, with a rest between that can be cut short. One round at a time. */
export class Loop {
  readonly #options: LoopOptions;
  #wake: (() => void) | undefined;
  #wakeAt = 0;
  #again = false;

  constructor(options: LoopOptions) {
    this.#options = options;
  }

  /** Runs until the signal is aborted; a failing round is logged and tried again. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#again = false;
      const rest = await this.#round(signal);
      if (!this.#again && !signal.aborted) await this.#rest(rest, signal);
    }
  }

  /** Starts the next round now, or right after the present one. */
  nudge(): void {
    this.#again = true;
    this.#wake?.();
  }

  /** Makes sure that a round starts within `ms`. */
  within(ms: number): void {
    if (this.#wake === undefined || this.#options.clock.monotonic() + ms < this.#wakeAt) this.nudge();
  }

  async #round(signal: AbortSignal): Promise<number> {
    try {
      return await this.#options.round(signal);
    } catch (error) {
      if (!signal.aborted) {
        this.#options.logger.error({ loop: this.#options.name, outcome: toCaissonError(error).code, err: error }, "a round failed");
      }
      return RETRY_MS;
    }
  }

  async #rest(ms: number, signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    this.#wakeAt = this.#options.clock.monotonic() + ms;
    const timer = this.#options.clock.schedule(ms, resolve);
    const ended = (): void => resolve();
    signal.addEventListener("abort", ended, { once: true });
    try {
      await promise;
    } finally {
      signal.removeEventListener("abort", ended);
      this.#wake = undefined;
      timer.cancel();
    }
  }
}
