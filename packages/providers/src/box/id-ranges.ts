import { readFileSync } from "node:fs";
import type { Random } from "@caisson/contract";
import { CaissonError } from "@caisson/contract";

/** Ids of one box. */
export const RANGE_SIZE = 65_536;
/** Above what /etc/subuid hands out by default, within what systemd sets aside for containers. */
const POOL = { first: 0x4000_0000, last: 0x6fff_ffff };

/** Where boxes may have their ids: whole ranges between `first` and `last`. */
export interface IdPool {
  readonly first: number;
  readonly last: number;
}

/** The pool that a process with this `/proc/self/uid_map` may use: the usual one, or the upper half of what it has. */
export function idPool(uidMap: string): IdPool | undefined {
  let widest = { inside: 0, count: 0 };
  for (const line of uidMap.split("\n")) {
    const [inside = Number.NaN, , count = Number.NaN] = line.trim().split(/\s+/).map(Number);
    if (count > widest.count) widest = { inside, count };
  }
  const end = widest.inside + widest.count - 1;
  if (widest.inside <= POOL.first && end >= POOL.last) return POOL;
  const first = Math.ceil((widest.inside + widest.count / 2) / RANGE_SIZE) * RANGE_SIZE;
  return first + RANGE_SIZE - 1 <= end ? { first, last: end } : undefined;
}

/** Gives each box a range of ids that no other box of this provider has. */
export class IdRanges {
  readonly #random: Random;
  readonly #used = new Set<number>();
  readonly #pool: IdPool | undefined;

  constructor(random: Random, pool: IdPool | undefined = idPool(readFileSync("/proc/self/uid_map", "utf8"))) {
    this.#random = random;
    this.#pool = pool;
  }

  /** Whether there is any range to give. */
  get available(): boolean {
    return this.#pool !== undefined;
  }

  /** A free range, taken until it is released: its first id. */
  take(): number {
    if (this.#pool === undefined) throw new CaissonError("unsupported", "This process has too few user ids for a range per sandbox.");
    const slots = Math.floor((this.#pool.last + 1 - this.#pool.first) / RANGE_SIZE);
    // A random start keeps two workers on one machine apart, mostly.
    const start = new DataView(this.#random.bytes(4).slice().buffer).getUint32(0) % slots;
    for (let step = 0; step < slots; step += 1) {
      const first = this.#pool.first + ((start + step) % slots) * RANGE_SIZE;
      if (!this.#used.has(first)) {
        this.#used.add(first);
        return first;
      }
    }
    throw new CaissonError("resource_limit", "Every range of user ids is in use.");
  }

  /** Marks the range of a box found on disk. */
  claim(first: number): void {
    this.#used.add(first);
  }

  release(first: number): void {
    this.#used.delete(first);
  }
}
