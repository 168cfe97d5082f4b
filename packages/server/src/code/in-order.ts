import type { Clock } from "@caisson/contract";

/** Lets one at a time in per key, in the order in which they came. Only order within this process hangs on it. */
export class InOrder {
  readonly #last = new Map<string, Promise<void>>();

  /** Waits for the others; undefined when that took until `ms`. Disposing lets the next one in. */
  async enter(
    key: string,
    wait: { readonly ms: number; readonly clock: Clock; readonly signal: AbortSignal },
  ): Promise<Disposable | undefined> {
    const before = this.#last.get(key) ?? Promise.resolve();
    const own = Promise.withResolvers<void>();
    const all = before.then(() => own.promise);
    this.#last.set(key, all);
    void all.then(() => {
      if (this.#last.get(key) === all) this.#last.delete(key);
    });
    const came = Promise.withResolvers<boolean>();
    const abort = (): void => came.reject(wait.signal.reason as Error);
    const timer = wait.clock.schedule(wait.ms, () => came.resolve(false));
    wait.signal.addEventListener("abort", abort, { once: true });
    void before.then(() => came.resolve(true));
    if (wait.signal.aborted) abort();
    try {
      if (await came.promise) return { [Symbol.dispose]: () => own.resolve() };
      own.resolve();
      return undefined;
    } catch (error) {
      own.resolve();
      throw error;
    } finally {
      timer.cancel();
      wait.signal.removeEventListener("abort", abort);
    }
  }
}
