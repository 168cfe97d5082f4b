import type { Clock } from "@caisson/contract";
import type { Hosts } from "./hosts.ts";

/** How long a worker that lost its link is expected back, and any worker by a control plane that has just started, in ms. */
const EXPECTED_MS = 10_000;
/** How long somebody waits for it, in ms. */
const WAIT_MS = 3_000;

/** What is needed to expect workers. */
export interface ExpectedWorkersOptions {
  readonly clock: Clock;
  readonly hosts: Hosts;
}

/**
 * Workers whose link broke a moment ago, or that have not found a control plane yet which has just started: they are back
 * within seconds, so what needs one of them waits instead of failing. One that stays away longer is waited for no more.
 */
export class ExpectedWorkers {
  readonly #options: ExpectedWorkersOptions;
  readonly #startedAt: number;
  /** When workers lost their link, in monotonic ms. */
  readonly #lostAt = new Map<string, number>();

  constructor(options: ExpectedWorkersOptions) {
    const { clock, hosts } = (this.#options = options);
    this.#startedAt = clock.monotonic();
    hosts.onChange((workerId) => {
      if (hosts.get(workerId) === undefined) this.#lostAt.set(workerId, clock.monotonic());
      else this.#lostAt.delete(workerId);
      for (const [id, at] of this.#lostAt) if (clock.monotonic() - at > EXPECTED_MS) this.#lostAt.delete(id);
    });
  }

  /** Resolves when there is a way to this worker, at once when there is one or none is expected, and after a moment anyway. */
  async one(workerId: string, signal?: AbortSignal): Promise<void> {
    const { hosts } = this.#options;
    if (hosts.get(workerId) !== undefined || !this.#isExpected(this.#lostAt.get(workerId))) return;
    await this.#change((id) => id === workerId && hosts.get(id) !== undefined, WAIT_MS, signal);
  }

  /**
   * A wait for workers, any. Each call tells whether another one came; false at once when none is expected, after a moment without
   * one, and when all the waiting together took too long: workers that come and go all the time are no reason to wait for ever.
   */
  arrivals(): () => Promise<boolean> {
    const { clock, hosts } = this.#options;
    const until = clock.monotonic() + EXPECTED_MS;
    return async () => {
      const left = Math.min(WAIT_MS, until - clock.monotonic());
      if (left <= 0 || !this.#isExpected(Math.max(...this.#lostAt.values()))) return false;
      return this.#change((id) => hosts.get(id) !== undefined, left);
    };
  }

  #isExpected(lostAt: number | undefined): boolean {
    const now = this.#options.clock.monotonic();
    return now - this.#startedAt < EXPECTED_MS || (lostAt !== undefined && now - lostAt < EXPECTED_MS);
  }

  async #change(isIt: (workerId: string) => boolean, ms: number, signal?: AbortSignal): Promise<boolean> {
    const { clock, hosts } = this.#options;
    const came = new AbortController();
    const unlisten = hosts.onChange((workerId) => {
      if (isIt(workerId)) came.abort();
    });
    try {
      await clock.sleep(ms, signal === undefined ? came.signal : AbortSignal.any([came.signal, signal])).catch(() => undefined);
    } finally {
      unlisten();
    }
    return came.signal.aborted;
  }
}
