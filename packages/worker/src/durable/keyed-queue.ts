/** Runs tasks of one key one after another, in the order they came; tasks of other keys run beside them. */
export class KeyedQueue {
  readonly #tails = new Map<string, Promise<void>>();

  /** Runs a task when all earlier ones of its key have settled. */
  run<T>(key: string, task: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(key) ?? Promise.resolve();
    const result = before.then(task);
    const tail = result.then(
      () => undefined,
      () => undefined,
    );
    this.#tails.set(key, tail);
    void tail.then(() => {
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    });
    return result;
  }

  /** Whether a task of this key runs or waits. */
  busy(key: string): boolean {
    return this.#tails.has(key);
  }

  /** Resolves when every task begun so far has settled. */
  async idle(): Promise<void> {
    await Promise.all(this.#tails.values());
  }
}
