import { isCaissonError, toCaissonError, type Clock } from "@caisson/contract";
import type { Exit, Guest } from "@caisson/guest";
import type { ProcessRef } from "@caisson/store";
import type { Logger } from "./logger.ts";

/** Processes of one sandbox that are waited for at once; each takes a channel of its link. */
const WAITS_EACH = 64;
/** Sandboxes that are asked at once. */
const ASKED_AT_ONCE = 8;
/** Rest between two looks at sandboxes with more processes than are waited for, or that could not be reached, in ms. */
const LOOK_EVERY_MS = 2_000;

/** What a watcher needs. */
export interface ProcessWatcherOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** The guest of a sandbox; undefined when it has ended. Rejects when it cannot be reached. */
  readonly guestOf: (sandboxId: string) => Promise<Guest | undefined>;
  /** A process has ended; `exit` undefined: nobody saw how. */
  readonly ended: (ref: ProcessRef, exit: Exit | undefined) => void;
  /** Compares all that is known of a sandbox with what its agent knows. */
  readonly look: (sandboxId: string, guest: Guest) => Promise<void>;
}

/**
 * Waits for the ends of processes that nobody listens to: for some of each sandbox by a call that is answered at the end, and
 * by a look every two seconds where there are more, and where such a call broke.
 */
export class ProcessWatcher {
  readonly #options: ProcessWatcherOptions;
  readonly #waits = new Map<string, Set<number>>();
  /** Sandboxes to look at. */
  readonly #doubtful = new Set<string>();
  readonly #stop = new AbortController();

  constructor(options: ProcessWatcherOptions) {
    this.#options = options;
  }

  /** Runs until the signal is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    const stop = (): void => this.#stop.abort(signal.reason);
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
    while (!signal.aborted) {
      await clock.sleep(LOOK_EVERY_MS, signal).catch(() => undefined); // aborted: the loop ends
      if (signal.aborted || this.#doubtful.size === 0) continue;
      const doubtful = [...this.#doubtful];
      this.#doubtful.clear();
      await this.each(doubtful, (sandboxId, guest) => this.#options.look(sandboxId, guest));
    }
  }

  /** Waits for the end of a process. Does nothing when it is waited for. */
  watch({ sandboxId, processId }: ProcessRef): void {
    if (this.#stop.signal.aborted) return;
    const waits = this.#waits.get(sandboxId) ?? new Set();
    if (waits.has(processId)) return;
    if (waits.size >= WAITS_EACH) {
      this.#doubtful.add(sandboxId);
      return;
    }
    this.#waits.set(sandboxId, waits.add(processId));
    void this.#wait({ sandboxId, processId }).finally(() => {
      waits.delete(processId);
      if (waits.size === 0) this.#waits.delete(sandboxId);
    });
  }

  /** Does something in several sandboxes, a few at a time. One that cannot be reached is looked at later. */
  async each(sandboxIds: readonly string[], run: (sandboxId: string, guest: Guest) => Promise<void>): Promise<void> {
    const left = [...sandboxIds];
    const work = async (): Promise<void> => {
      for (let id = left.shift(); id !== undefined && !this.#stop.signal.aborted; id = left.shift()) {
        try {
          const guest = await this.#options.guestOf(id);
          if (guest !== undefined) await run(id, guest);
        } catch (error) {
          this.#doubt(id, error);
        }
      }
    };
    await Promise.all(Array.from({ length: ASKED_AT_ONCE }, work));
  }

  async #wait(ref: ProcessRef): Promise<void> {
    try {
      const guest = await this.#options.guestOf(ref.sandboxId);
      // Of one that has ended, the store knows.
      if (guest === undefined) return;
      this.#options.ended(ref, await guest.wait(ref.processId, { signal: this.#stop.signal }));
    } catch (error) {
      if (isCaissonError(error, "process_not_found")) this.#options.ended(ref, undefined);
      else this.#doubt(ref.sandboxId, error);
    }
  }

  #doubt(sandboxId: string, error: unknown): void {
    if (this.#stop.signal.aborted || isCaissonError(error, "sandbox_not_found", "lease_lost", "sandbox_destroyed")) return;
    this.#doubtful.add(sandboxId);
    this.#options.logger.debug(
      { sandbox_id: sandboxId, outcome: toCaissonError(error).code },
      "the ends of its processes are looked for later",
    );
  }
}
