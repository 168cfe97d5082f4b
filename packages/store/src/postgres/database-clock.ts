import type { Clock, Timer } from "@caisson/contract";

/** Time between two measurements, in ms. */
const MEASURE_EVERY_MS = 10_000;
/** Measurements at the beginning, of which the quickest counts. */
const FIRST_MEASUREMENTS = 3;
/** By how much it may be ahead and wait for the database's time instead of going back, in ms. */
const HOLD_MS = 1_000;

/**
 * The database's time, which all control planes share, without asking for it each time: it runs with this process's monotonic
 * clock from the last measurement. What a measurement cannot tell apart from its own round trip changes nothing. Where this
 * clock is found a little ahead it stands still until the time has come; only what is more takes it back.
 */
export class DatabaseClock implements Clock {
  readonly #clock: Clock;
  readonly #ask: () => Promise<number>;
  #offset: number;
  #latest = -Infinity;
  #timer: Timer | undefined;

  private constructor(clock: Clock, ask: () => Promise<number>) {
    this.#clock = clock;
    this.#ask = ask;
    this.#offset = 0;
  }

  /** A clock that was measured once. `ask` returns the database's time in ms since the Unix epoch. */
  static async start(clock: Clock, ask: () => Promise<number>): Promise<DatabaseClock> {
    const made = new DatabaseClock(clock, ask);
    let best: Measurement | undefined;
    for (let i = 0; i < FIRST_MEASUREMENTS; i += 1) {
      const one = await made.#measured();
      if (best === undefined || one.within < best.within) best = one;
    }
    made.#offset = best?.offset ?? 0;
    made.#plan();
    return made;
  }

  now(): number {
    this.#latest = Math.max(this.#latest, Math.round(this.#offset + this.#clock.monotonic()));
    return this.#latest;
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

  /** Measures now. Rejects when the database does not answer: then it runs on as it was. */
  async measure(): Promise<void> {
    const { offset, within } = await this.#measured();
    if (Math.abs(offset - this.#offset) <= within) return;
    this.#offset = offset;
    const now = Math.round(offset + this.#clock.monotonic());
    if (this.#latest - now > HOLD_MS) this.#latest = now;
  }

  /** Measures no more. */
  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #plan(): void {
    this.#timer = this.#clock.schedule(MEASURE_EVERY_MS, () => {
      void this.measure()
        .catch(() => undefined) // measured again soon
        .then(() => {
          if (this.#timer !== undefined) this.#plan();
        });
    });
  }

  async #measured(): Promise<Measurement> {
    const sent = this.#clock.monotonic();
    const told = await this.#ask();
    const got = this.#clock.monotonic();
    return { offset: told - (sent + got) / 2, within: (got - sent) / 2 };
  }
}

interface Measurement {
  /** The database's time less this process's monotonic one, in ms. */
  readonly offset: number;
  /** By how much it may be wrong, in ms. */
  readonly within: number;
}
