import { CaissonError } from "@caisson/contract";

/** How many ids are remembered; the oldest go first. A lease that old is refused by the worker's own records. */
const LIMIT = 10_000;

/** The highest epoch seen for each sandbox. */
export class Epochs {
  readonly #seen = new Map<string, number>();

  /** Refuses an epoch lower than one seen before; remembers it otherwise. */
  admit(sandboxId: string, epoch: number, onDisk: number | undefined): void {
    const highest = Math.max(this.#seen.get(sandboxId) ?? 0, onDisk ?? 0);
    if (epoch < highest)
      throw new CaissonError("lease_lost", `Epoch ${highest} of ${sandboxId} was here; ${epoch} comes too late.`, {
        detail: { epoch, current: highest },
      });
    this.#seen.delete(sandboxId);
    this.#seen.set(sandboxId, epoch);
    if (this.#seen.size > LIMIT) for (const oldest of this.#seen.keys()) return void this.#seen.delete(oldest);
  }
}
