import type { CaissonError, Clock, Timer } from "@caisson/contract";

/** How long a reader waits. */
export interface Patience {
  readonly clock: Clock;
  /** Aborted: the reader stops at once, with the signal's reason. */
  readonly signal: AbortSignal;
  /** From when on, in ms, a silent source is no longer waited for; absent: it may be silent for ever. */
  readonly fromMs?: number;
  /** How long a source may then be silent, in ms. A pause of the consumer does not count. */
  readonly silentMs: number;
  /** What a source is that was silent too long. */
  readonly late: () => CaissonError;
}

/** Reads a source one item at a time, and stops waiting when it must: the source alone might never answer. */
export class PatientReader<T> implements Disposable {
  readonly #iterator: AsyncIterator<T>;
  readonly #patience: Patience;
  readonly #onAbort = (): void => this.#reject?.(this.#patience.signal.reason as Error);
  #timer: Timer | undefined;
  #waitingSince = 0;
  #reject: ((reason: Error) => void) | undefined;

  constructor(source: AsyncIterable<T>, patience: Patience) {
    this.#iterator = source[Symbol.asyncIterator]();
    this.#patience = patience;
    patience.signal.addEventListener("abort", this.#onAbort, { once: true });
    if (patience.fromMs !== undefined) this.#watch(patience.fromMs + patience.silentMs);
  }

  /** The next item; undefined at the end. One call at a time. */
  next(): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      if (this.#patience.signal.aborted) return reject(this.#patience.signal.reason as Error);
      this.#reject = reject;
      this.#waitingSince = this.#patience.clock.monotonic();
      this.#iterator.next().then((result) => {
        this.#reject = undefined;
        resolve(result.done === true ? undefined : result.value);
      }, reject);
    });
  }

  /** Leaves the source. One that is silent may never hear of it; who opened it must be able to end it too. */
  [Symbol.dispose](): void {
    this.#timer?.cancel();
    this.#patience.signal.removeEventListener("abort", this.#onAbort);
    // What a source says on being left is of no interest to a reader that has gone.
    this.#iterator.return?.().then(undefined, () => undefined);
  }

  #watch(afterMs: number): void {
    const { clock, silentMs, late } = this.#patience;
    this.#timer = clock.schedule(afterMs, () => {
      if (this.#reject !== undefined && clock.monotonic() - this.#waitingSince >= silentMs) this.#reject(late());
      else this.#watch(silentMs);
    });
  }
}
