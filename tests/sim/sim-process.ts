import type { Clock, Timer } from "@caisson/contract";
import type { Simulation } from "./simulation.ts";

/** Wall time that can be set, as distinct from the time that passes. */
export interface WallTime {
  /** Wall-clock time at the simulation's beginning, plus all jumps, in ms. */
  offset: number;
}

/**
 * One life of the control plane. Everything that it awaits goes through here, so that after its crash none of its
 * continuations ever runs again: its calls are never answered and its timers never fire.
 */
export class SimProcess {
  readonly clock: Clock;
  readonly #simulation: Simulation;
  #alive = true;

  constructor(simulation: Simulation, wall: WallTime) {
    this.#simulation = simulation;
    const booted = simulation.now - simulation.random.int(0, 1_000_000);
    const schedule = (ms: number, run: () => void): Timer =>
      simulation.after(ms, () => {
        if (this.#alive) run();
      });
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

  /** Ends this life between two events. */
  crash(): void {
    this.#alive = false;
  }

  /** Runs `work` after `ms` if this life lasts that long, and delivers its outcome after `back` more if it still lasts. */
  call<T>(ms: number, back: number, work: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#simulation.after(ms, async () => {
        if (!this.#alive) return;
        const [result] = await Promise.allSettled([work()]);
        const deliver = (): void => {
          if (!this.#alive) return;
          if (result.status === "fulfilled") resolve(result.value);
          else reject(result.reason as Error);
        };
        if (back === 0) deliver();
        else this.#simulation.after(back, deliver);
      });
    });
  }
}
