import type { Clock } from "@caisson/contract";
import type { Store } from "@caisson/store";
import type { Logger } from "./logger.ts";
import { Loop } from "./loop.ts";
import type { StateWriter } from "./state-writer.ts";
import { JUMP_MS, SteadyClock } from "./steady-clock.ts";

/** Longest rest, in ms: how late a jump of the clock is noticed. */
const LONGEST_REST_MS = 10_000;
/** Shortest rest, in ms: what is due but cannot be written now is not tried in a hot loop. */
const SHORTEST_REST_MS = 50;
/** Sandboxes ended in one round. */
const BATCH = 100;

/** What a reaper needs. */
export interface ReaperOptions {
  readonly clock: Clock;
  readonly store: Store;
  readonly states: StateWriter;
  readonly logger: Logger;
}

/** Ends what has outlived its time: sandboxes and transitional states. Also watches the clock, where it is this process's own. */
export class Reaper {
  readonly #options: ReaperOptions;
  readonly #loop: Loop;

  constructor(options: ReaperOptions) {
    this.#options = options;
    this.#loop = new Loop({ name: "reaper", clock: options.clock, logger: options.logger, round: () => this.#round() });
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
    // The time of a database that others share is nobody's to move deadlines by.
    if (clock instanceof SteadyClock) await this.#watchClock(clock);
    const due = await store.deadlines.due(BATCH);
    for (const sandbox of due) {
      await states.observe(sandbox, sandbox.expiresAt <= clock.now() ? "ttl_passed" : "deadline_passed");
    }
    const next = await store.deadlines.next();
    return Math.max(SHORTEST_REST_MS, Math.min(next === undefined ? LONGEST_REST_MS : next - clock.now(), LONGEST_REST_MS));
  }

  async #watchClock(clock: SteadyClock): Promise<void> {
    const { store, logger } = this.#options;
    const drift = clock.drift();
    if (Math.abs(drift) < JUMP_MS) {
      clock.adopt(drift);
      return;
    }
    await store.deadlines.shift(drift, () => clock.adopt(drift));
    logger.warn({ jump_ms: drift }, "the wall clock was set; all deadlines were moved with it");
  }
}
