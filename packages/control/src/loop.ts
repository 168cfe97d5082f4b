import { toCaissonError, type Clock, type Timer } from "@caisson/contract";
import type { Logger } from "./logger.ts";

/** A round that failed is tried again after this time, in ms. */
const RETRY_MS = 1_000;
/** Time between two words of rounds that fail for the same reason, in ms. */
const REMIND_MS = 60_000;

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
  #timer: Timer | undefined;
  /** When the next round is due because somebody asked for it. */
  #dueAt = Infinity;
  #again = false;
  /** Why rounds fail at present, how many have, and when that was told. */
  #failing: { readonly code: string; rounds: number; toldAt: number } | undefined;

  constructor(options: LoopOptions) {
    this.#options = options;
  }

  /** Runs until the signal is aborted; a failing round is tried again, and logged where it is news. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#again = false;
      this.#dueAt = Infinity;
      const rest = await this.#round(signal);
      if (!this.#again && !signal.aborted) await this.#rest(rest, signal);
    }
  }

  /** Starts the next round now, or right after the present one. */
  nudge(): void {
    this.#again = true;
    this.#wake?.();
  }

  /** Makes sure that a round starts in `ms`, if not before: whoever asks meanwhile is served by the same one. */
  within(ms: number): void {
    this.#dueAt = Math.min(this.#dueAt, this.#options.clock.monotonic() + ms);
    if (this.#wake !== undefined && this.#dueAt < this.#wakeAt) this.#wakeIn(ms);
  }

  #wakeIn(ms: number): void {
    this.#timer?.cancel();
    this.#wakeAt = this.#options.clock.monotonic() + ms;
    this.#timer = this.#options.clock.schedule(ms, () => this.#wake?.());
  }

  async #round(signal: AbortSignal): Promise<number> {
    const { logger, name, round } = this.#options;
    try {
      const rest = await round(signal);
      if (this.#failing !== undefined) logger.info({ loop: name, failures: this.#failing.rounds }, "rounds succeed again");
      this.#failing = undefined;
      return rest;
    } catch (error) {
      if (!signal.aborted) this.#failed(error);
      return RETRY_MS;
    }
  }

  #failed(error: unknown): void {
    const { clock, logger, name } = this.#options;
    const { code } = toCaissonError(error);
    const now = clock.monotonic();
    if (this.#failing?.code !== code) this.#failing = { code, rounds: 0, toldAt: -Infinity };
    this.#failing.rounds += 1;
    if (now - this.#failing.toldAt < REMIND_MS) return;
    this.#failing.toldAt = now;
    logger.error({ loop: name, outcome: code, failures: this.#failing.rounds, err: error }, "a round failed");
  }

  async #rest(ms: number, signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    this.#wakeIn(Math.max(0, Math.min(ms, this.#dueAt - this.#options.clock.monotonic())));
    const ended = (): void => resolve();
    signal.addEventListener("abort", ended, { once: true });
    try {
      await promise;
    } finally {
      signal.removeEventListener("abort", ended);
      this.#wake = undefined;
      this.#timer?.cancel();
    }
  }
}
