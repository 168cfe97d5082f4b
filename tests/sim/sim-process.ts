import type { Clock, Timer } from "@caisson/contract";
import type { Simulation } from "./simulation.ts";

/** Wall time that can be set, as distinct from the time that passes. */
export interface WallTime {
  /** Wall-clock time at the simulation's beginning, plus all jumps, in ms. */
  offset: number;
}

/**
 * One life of a process. Everything that it awaits goes through here, so that after its crash none of its continuations ever
 * runs again: its calls are never answered and its timers never fire. While it is frozen, all of that waits.
 */
export class SimProcess {
  readonly clock: Clock;
  readonly #simulation: Simulation;
  #alive = true;
  #frozenUntil = 0;
  #ends: (() => void)[] = [];
  /** What came while it was frozen, in order. */
  readonly #parked: (() => void)[] = [];

  constructor(simulation: Simulation, wall: WallTime) {
    this.#simulation = simulation;
    const booted = simulation.now - simulation.random.int(0, 1_000_000);
    const schedule = (ms: number, run: () => void): Timer => simulation.after(ms, () => this.deliver(run));
    this.clock = {
      now: () => Math.round(wall.offset + simulation.now),
      monotonic: () => simulation.now - booted,
      schedule,
      sleep: (ms, signal) =>
        new Promise((resolve, reject) => {
          if (signal?.aborted) return reject(signal.reason as Error);
          const abort = (): void => {
            timer.cancel();
            reject(signal?.reason as Error);
          };
          const timer = schedule(ms, () => {
            signal?.removeEventListener("abort", abort);
            resolve();
          });
          signal?.addEventListener("abort", abort, { once: true });
        }),
    };
  }

  get alive(): boolean {
    return this.#alive;
  }

  get frozen(): boolean {
    return this.#alive && this.#frozenUntil > this.#simulation.now;
  }

  /** Ends this life between two events. */
  crash(): void {
    this.#alive = false;
    for (const ended of this.#ends.splice(0)) ended();
  }

  /** Calls back when this life ends. */
  onEnd(ended: () => void): void {
    this.#ends.push(ended);
  }

  /** Stops it for a while, as a suspended machine is: what comes meanwhile waits, and comes all at once. */
  freeze(ms: number): void {
    this.#frozenUntil = Math.max(this.#frozenUntil, this.#simulation.now + ms);
    this.#simulation.after(ms, () => {
      if (!this.frozen) this.thaw();
    });
  }

  /** Lets it go on. */
  thaw(): void {
    this.#frozenUntil = 0;
    for (const run of this.#parked.splice(0)) this.#simulation.after(0, () => this.deliver(run));
  }

  /** Something reaches this process: now, or when it goes on, or never. */
  deliver(run: () => void): void {
    if (!this.#alive) return;
    if (this.frozen) this.#parked.push(run);
    else run();
  }

  /** Runs `work` after `ms` if this life lasts that long, and delivers its outcome after `back` more if it still lasts. */
  call<T>(ms: number, back: number, work: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#simulation.after(ms, async () => {
        if (!this.#alive) return;
        const [result] = await Promise.allSettled([work()]);
        const settled = (): void => {
          if (result.status === "fulfilled") resolve(result.value);
          else reject(result.reason as Error);
        };
        if (back === 0) this.deliver(settled);
        else this.#simulation.after(back, () => this.deliver(settled));
      });
    });
  }
}
