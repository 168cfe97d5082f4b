import type { Clock } from "@caisson/contract";

/** Wall-clock time of the control planes, which a worker goes by where tokens end: its own clock may be wrong. */
export class ControlTime {
  readonly #clock: Clock;
  #told: { readonly now: number; readonly at: number } | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A control plane told its time. */
  learn(now: number): void {
    this.#told = { now, at: this.#clock.monotonic() };
  }

  /** Ms since the Unix epoch; this machine's own time until a control plane was heard. */
  now(): number {
    return this.#told === undefined ? this.#clock.now() : this.#told.now + (this.#clock.monotonic() - this.#told.at);
  }
}
