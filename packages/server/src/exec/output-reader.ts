import { CaissonError, type Clock, type Timer } from "@caisson/contract";
import type { AttachedProcess, ProcessOutput } from "@caisson/guest";

/** How long a reader waits. */
export interface ReaderBounds {
  readonly clock: Clock;
  /** Aborted: the reader stops at once, with the signal's reason. */
  readonly signal: AbortSignal;
  /** Timeout of the process in ms, when it has one: the sandbox enforces it, the reader makes sure that it did. */
  readonly timeoutMs?: number;
  /** How long a silent sandbox is waited for after that, in ms. A pause of the consumer does not count. */
  readonly graceMs: number;
}

/**
 * Reads the output of a process until its exit, the end of what is there, or an abort. Leaving it detaches from the
 * process and never ends it.
 */
export class OutputReader implements Disposable {
  readonly #process: AttachedProcess;
  readonly #iterator: AsyncIterator<ProcessOutput>;
  readonly #bounds: ReaderBounds;
  readonly #onAbort = (): void => this.#reject?.(this.#bounds.signal.reason as Error);
  #timer: Timer | undefined;
  #waitingSince = 0;
  #reject: ((reason: Error) => void) | undefined;

  constructor(process: AttachedProcess, bounds: ReaderBounds) {
    this.#process = process;
    this.#iterator = process[Symbol.asyncIterator]();
    this.#bounds = bounds;
    bounds.signal.addEventListener("abort", this.#onAbort, { once: true });
    if (bounds.timeoutMs !== undefined) this.#watch(bounds.timeoutMs + bounds.graceMs);
  }

  /** The next thing the process says; undefined at the end. One call at a time. */
  next(): Promise<ProcessOutput | undefined> {
    return new Promise((resolve, reject) => {
      if (this.#bounds.signal.aborted) return reject(this.#bounds.signal.reason as Error);
      this.#reject = reject;
      this.#waitingSince = this.#bounds.clock.monotonic();
      this.#iterator.next().then((result) => {
        this.#reject = undefined;
        resolve(result.done === true ? undefined : result.value);
      }, reject);
    });
  }

  [Symbol.dispose](): void {
    this.#timer?.cancel();
    this.#bounds.signal.removeEventListener("abort", this.#onAbort);
    this.#process.detach();
  }

  #watch(afterMs: number): void {
    const { clock, graceMs } = this.#bounds;
    this.#timer = clock.schedule(afterMs, () => {
      if (this.#reject !== undefined && clock.monotonic() - this.#waitingSince >= graceMs)
        this.#reject(new CaissonError("agent_unreachable", "The sandbox did not report the end of the command after its timeout."));
      else this.#watch(graceMs);
    });
  }
}
