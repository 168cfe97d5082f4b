import type { Clock, Timer } from "@caisson/contract";

interface Entry {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

/** A clock that only moves when told to. Timers fire in order of their time, then of their making. */
export class VirtualClock implements Clock {
  readonly #start: number;
  #elapsed = 0;
  #order = 0;
  readonly #timers = new Set<Entry>();

  /** `start` is the wall-clock time it begins at, in ms. */
  constructor(start: number = Date.UTC(2026, 0, 1)) {
    this.#start = start;
  }

  /** Timers that have not fired. */
  get pending(): number {
    return this.#timers.size;
  }

  now(): number {
    return this.#start + this.#elapsed;
  }

  monotonic(): number {
    return this.#elapsed;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason as Error);
      const timer = this.schedule(ms, () => {
        signal?.removeEventListener("abort", abort);
        resolve();
      });
      const abort = (): void => {
        timer.cancel();
        reject(signal?.reason as Error);
      };
      signal?.addEventListener("abort", abort, { once: true });
    });
  }

  schedule(ms: number, run: () => void): Timer {
    const entry: Entry = { at: this.#elapsed + Math.max(0, ms), order: this.#order++, run };
    this.#timers.add(entry);
    return { cancel: () => void this.#timers.delete(entry) };
  }

  /** Moves time by `ms`; everything due on the way runs, and what it sets off settles before the next. */
  async advance(ms: number): Promise<void> {
    const until = this.#elapsed + ms;
    await settle();
    for (let next = this.#next(); next !== undefined && next.at <= until; next = this.#next()) {
      this.#timers.delete(next);
      this.#elapsed = Math.max(this.#elapsed, next.at);
      next.run();
      await settle();
    }
    this.#elapsed = until;
  }

  /** Moves time from timer to timer until `done` says so; throws when no timer is left. */
  async advanceUntil(done: () => boolean): Promise<void> {
    await settle();
    while (!done()) {
      const next = this.#next();
      if (next === undefined) throw new Error("No timer is left and the condition does not hold.");
      await this.advance(next.at - this.#elapsed);
    }
  }

  #next(): Entry | undefined {
    let first: Entry | undefined;
    for (const entry of this.#timers)
      if (first === undefined || entry.at < first.at || (entry.at === first.at && entry.order < first.order)) first = entry;
    return first;
  }
}

/** Lets everything that is ready in this process run. */
async function settle(): Promise<void> {
  for (let i = 0; i < 4; i++) await new Promise<void>((resolve) => void setImmediate(resolve));
}
