import type { Clock, Timer } from "@caisson/contract";

/** A difference that is a jump and no slow correction, in ms. */
export const JUMP_MS = 2_000;

/**
 * Wall-clock time that does not jump: it runs with the monotonic clock from the wall time at its making. A jump of the
 * wall clock is seen as `drift` and taken over by `adopt`, when all stored deadlines have been moved with it: so a clock
 * that is set neither ends nor prolongs anything. The store and the orchestrator of a process share one.
 */
export class SteadyClock implements Clock {
  readonly #clock: Clock;
  #offset: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#offset = clock.now() - clock.monotonic();
  }

  now(): number {
    return Math.round(this.#offset + this.#clock.monotonic());
  }

  /** By how much the wall clock is ahead of this one, in ms. */
  drift(): number {
    return Math.round(this.#clock.now() - this.now());
  }

  /** Moves this clock by `deltaMs`. */
  adopt(deltaMs: number): void {
    this.#offset += deltaMs;
  }

  monotonic(): number {
    return this.#clock.monotonic();
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return this.#clock.sleep(ms, signal);
  }

  schedule(ms: number, run: () => void): Timer {
    return this.#clock.schedule(ms, run);
  }
}
