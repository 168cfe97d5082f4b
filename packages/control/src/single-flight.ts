/** Work under way by key: who asks for what is being done joins it. */
export class SingleFlight<T> {
  readonly #running = new Map<string, Promise<T>>();

  /** Runs `work`, or joins the run that has this key. */
  run(key: string, work: () => Promise<T>): Promise<T> {
    const running = this.#running.get(key);
    if (running !== undefined) return running;
    const promise = work().finally(() => this.#running.delete(key));
    this.#running.set(key, promise);
    return promise;
  }

  /** Resolves when everything that runs now has settled, however. */
  async idle(): Promise<void> {
    await Promise.allSettled(this.#running.values());
  }
}
