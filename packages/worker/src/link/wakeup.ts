import type { Clock } from "@caisson/contract";

/** A wait that others can end early. */
export class Wakeup {
  readonly #clock: Clock;
  readonly #waiting = new Set<AbortController>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Resolves after the time, when somebody wakes, or with the signal. */
  async wait(ms: number, signal: AbortSignal): Promise<void> {
    const woken = new AbortController();
    this.#waiting.add(woken);
    await this.#clock.sleep(ms, AbortSignal.any([woken.signal, signal])).catch(() => undefined);
    this.#waiting.delete(woken);
  }

  /** Ends every wait under way. */
  wake(): void {
    for (const waiting of this.#waiting) waiting.abort();
  }
}
