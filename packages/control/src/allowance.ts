import type { Clock } from "@caisson/contract";

/** How often each of many may do something. */
export interface AllowanceOptions {
  /** Times at once, after a pause. */
  readonly burst: number;
  /** Times for each second after that. */
  readonly perSecond: number;
  /** Most names that are told apart; the ones silent for longest are forgotten first. */
  readonly names: number;
  readonly clock: Pick<Clock, "monotonic">;
}

interface Bucket {
  left: number;
  at: number;
}

/** Bounds how often each may do something: a bucket for each name. */
export class Allowance {
  readonly #options: AllowanceOptions;
  readonly #buckets = new Map<string, Bucket>();

  constructor(options: AllowanceOptions) {
    this.#options = options;
  }

  /** Counts one time; the seconds to wait when it is one too many, else 0. */
  take(name: string): number {
    const { burst, perSecond, names, clock } = this.#options;
    const now = clock.monotonic();
    const known = this.#buckets.get(name) ?? { left: burst, at: now };
    const left = Math.min(burst, known.left + ((now - known.at) / 1000) * perSecond);
    this.#buckets.delete(name);
    for (const [oldest] of this.#buckets) {
      if (this.#buckets.size < names) break;
      this.#buckets.delete(oldest);
    }
    this.#buckets.set(name, { left: left < 1 ? left : left - 1, at: now });
    return left < 1 ? Math.ceil((1 - left) / perSecond) : 0;
  }
}
