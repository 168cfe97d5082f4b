/** Runs what concerns one box one after another, in the order it came; other boxes go beside it. */
export class BoxQueue {
  readonly #tails = new Map<string, Promise<void>>();

  run<T>(sandboxId: string, task: () => Promise<T>): Promise<T> {
    const result = (this.#tails.get(sandboxId) ?? Promise.resolve()).then(task);
    const tail = result.then(
      () => undefined,
      () => undefined,
    );
    this.#tails.set(sandboxId, tail);
    void tail.then(() => {
      if (this.#tails.get(sandboxId) === tail) this.#tails.delete(sandboxId);
    });
    return result;
  }
}
