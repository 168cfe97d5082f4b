import { toCaissonError } from "@caisson/contract";
import { DEFAULT_RETENTION, type Retention, type Store } from "@caisson/store";
import type { Logger } from "./logger.ts";
import { Loop } from "./loop.ts";
import type { StateWriter } from "./state-writer.ts";
import { JUMP_MS, type SteadyClock } from "./steady-clock.ts";

/** Longest rest, in ms: how late a jump of the clock is noticed. */
const LONGEST_REST_MS = 10_000;
/** Shortest rest, in ms: what is due but cannot be written now is not tried in a hot loop. */
const SHORTEST_REST_MS = 50;
/** Time between two looks for old history, in ms. */
const PURGE_EVERY_MS = 600_000;
/** Sandboxes ended in one round. */
const BATCH = 100;

/** What a reaper needs. */
export interface ReaperOptions {
  readonly clock: SteadyClock;
  readonly store: Store;
  readonly states: StateWriter;
  readonly logger: Logger;
  readonly retention?: Retention;
}

/** Ends what has outlived its time: sandboxes, transitional states, and old history. Also watches the clock. */
export class Reaper {
  readonly #options: ReaperOptions;
  readonly #loop: Loop;
  #purgeAt = 0;

  constructor(options: ReaperOptions) {
    this.#options = options;
    this.#loop = new Loop({ name: "reaper", clock: options.clock, logger: options.logger, round: () => this.#round() });
    this.#purgeAt = options.clock.monotonic() + PURGE_EVERY_MS;
  }

  /** Runs until the signal is aborted. */
  run(signal: AbortSignal): Promise<void> {
    return this.#loop.run(signal);
  }

  /** Looks again no later than in `ms`. */
  within(ms: number): void {
    this.#loop.within(Math.max(0, ms));
  }

  async #round(): Promise<number> {
    const { clock, store, states } = this.#options;
    await this.#watchClock();
    const due = await store.sandboxes.due(BATCH);
    for (const sandbox of due) {
      await states.observe(sandbox, sandbox.expiresAt <= clock.now() ? "ttl_passed" : "deadline_passed");
    }
    await this.#purge();
    const next = await store.sandboxes.nextDue();
    return Math.max(SHORTEST_REST_MS, Math.min(next === undefined ? LONGEST_REST_MS : next - clock.now(), LONGEST_REST_MS));
  }

  async #watchClock(): Promise<void> {
    const { clock, store, logger } = this.#options;
    const drift = clock.drift();
    if (Math.abs(drift) < JUMP_MS) {
      clock.adopt(drift);
      return;
    }
    await store.sandboxes.shiftDeadlines(drift, () => clock.adopt(drift));
    logger.warn({ jump_ms: drift }, "the wall clock was set; all deadlines were moved with it");
  }

  /** One batch at most per round: others wait for the database meanwhile. */
  async #purge(): Promise<void> {
    const { clock, store, logger, retention = DEFAULT_RETENTION } = this.#options;
    if (clock.monotonic() < this.#purgeAt) return;
    try {
      const purged = await store.purge(retention);
      if (!purged.more) this.#purgeAt = clock.monotonic() + PURGE_EVERY_MS;
      logger.debug({ ...purged }, "old history was removed");
    } catch (error) {
      this.#purgeAt = clock.monotonic() + PURGE_EVERY_MS;
      logger.error({ outcome: toCaissonError(error).code, err: error }, "old history could not be removed");
    }
  }
}
