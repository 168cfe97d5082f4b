import type { Clock, Timer } from "@caisson/contract";

/** How long a call that comes before the first answer of a control plane waits for it, in ms. */
const FIRST_WAIT_MS = 2_000;

/**
 * The right of a worker to start sandboxes. It holds for a time after a control plane was asked that answered, by monotonic
 * time: no clock that jumps makes it longer. It begins lapsed.
 */
export class WorkerLease {
  readonly #clock: Clock;
  readonly #waiting = new Set<() => void>();
  readonly #lapse: () => void;
  #until = Number.NEGATIVE_INFINITY;
  #timer: Timer | undefined;

  /** `graceMs` after now, unless it was renewed, `lapsed` is called; and every time that a lease that was held runs out. */
  constructor(clock: Clock, graceMs: number, lapsed: () => void) {
    this.#clock = clock;
    this.#lapse = lapsed;
    this.#timer = clock.schedule(graceMs, lapsed);
  }

  get held(): boolean {
    return this.#clock.monotonic() < this.#until;
  }

  /** A control plane that was asked at this monotonic time has answered. */
  renew(askedAt: number, leaseMs: number): void {
    const until = askedAt + leaseMs;
    if (until <= this.#until) return;
    this.#until = until;
    this.#timer?.cancel();
    this.#timer = this.#clock.schedule(until - this.#clock.monotonic(), this.#lapse);
    for (const wake of this.#waiting) wake();
  }

  /** Resolves with whether the lease is held, as soon as it is, or after a moment. */
  async holds(): Promise<boolean> {
    if (this.held) return true;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        timer.cancel();
        this.#waiting.delete(done);
        resolve();
      };
      const timer = this.#clock.schedule(FIRST_WAIT_MS, done);
      this.#waiting.add(done);
    });
    return this.held;
  }

  close(): void {
    this.#timer?.cancel();
    for (const wake of this.#waiting) wake();
  }
}
