import type { Clock, Timer } from "@caisson/contract";

/** When a silent peer counts as gone. */
export interface KeepAliveOptions {
  /** Silence in ms after which a ping is sent. */
  readonly intervalMs: number;
  /** Time in ms in which something must arrive after a ping. */
  readonly timeoutMs: number;
}

/** Pings a silent peer and tells when it stays silent. */
export class KeepAlive {
  readonly #clock: Clock;
  readonly #options: KeepAliveOptions;
  readonly #ping: () => void;
  readonly #gone: () => void;
  #timer: Timer | undefined;
  #heardAt: number;

  constructor(clock: Clock, options: KeepAliveOptions, ping: () => void, gone: () => void) {
    this.#clock = clock;
    this.#options = options;
    this.#ping = ping;
    this.#gone = gone;
    this.#heardAt = clock.monotonic();
    this.#wait();
  }

  /** Something arrived. */
  heard(): void {
    this.#heardAt = this.#clock.monotonic();
  }

  stop(): void {
    this.#timer?.cancel();
  }

  #wait(): void {
    const silentFor = this.#clock.monotonic() - this.#heardAt;
    this.#timer = this.#clock.schedule(Math.max(this.#options.intervalMs - silentFor, 1), () => {
      if (this.#clock.monotonic() - this.#heardAt < this.#options.intervalMs) return this.#wait();
      const before = this.#heardAt;
      this.#ping();
      this.#timer = this.#clock.schedule(this.#options.timeoutMs, () => {
        if (this.#heardAt === before) this.#gone();
        else this.#wait();
      });
    });
  }
}
