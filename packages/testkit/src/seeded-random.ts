import type { Random } from "@caisson/contract";

/** Randomness that a seed repeats. */
export class SeededRandom implements Random {
  readonly seed: number;
  #state: number;

  constructor(seed: number) {
    this.seed = seed;
    this.#state = seed >>> 0;
  }

  /** Next unsigned 32-bit number (mulberry32). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  }

  /** An integer in `[min, max]`. */
  int(min: number, max: number): number {
    return min + (this.next() % (max - min + 1));
  }

  /** True with this probability. */
  chance(probability: number): boolean {
    return this.next() / 0x1_0000_0000 < probability;
  }

  /** One of the items. */
  pick<T>(items: readonly T[]): T {
    if (items.length === 0) throw new Error("Nothing to pick from.");
    return items[this.next() % items.length] as T;
  }

  bytes(count: number): Uint8Array {
    const out = new Uint8Array(count);
    for (let i = 0; i < count; i++) out[i] = this.next() & 0xff;
    return out;
  }
}

/** The seed and the number of cases of a randomized test: from the environment to replay it, else as given. */
export function fuzzPlan(cases: number): { readonly seed: number; readonly cases: number } {
  const seed = process.env["CAISSON_FUZZ_SEED"];
  const count = process.env["CAISSON_FUZZ_CASES"];
  return {
    seed: seed === undefined ? crypto.getRandomValues(new Uint32Array(1))[0]! : Number(seed) >>> 0,
    cases: count === undefined ? cases : Number(count),
  };
}
