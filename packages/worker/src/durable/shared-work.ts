import { abortError } from "./deadline.ts";

interface Flight<T> {
  readonly controller: AbortController;
  readonly result: Promise<T>;
  waiting: number;
  settled: boolean;
}

/** Work that several callers may want at once: it runs once per key, and is cancelled when the last caller lost interest. */
export class SharedWork<T> {
  readonly #flights = new Map<string, Flight<T>>();

  /** Joins the work under way for this key, or begins it. The signal ends only this caller's wait, unless it is the last. */
  async run(key: string, work: (signal: AbortSignal) => Promise<T>, signal?: AbortSignal): Promise<T> {
    if (signal?.aborted) throw abortError(signal, `waiting for ${key}`);
    let flight = this.#flights.get(key);
    if (flight === undefined || flight.controller.signal.aborted) {
      flight = this.#begin(key, work);
    }
    flight.waiting += 1;
    const left = Promise.withResolvers<never>();
    const leave = (): void => left.reject(abortError(signal, `waiting for ${key}`));
    signal?.addEventListener("abort", leave, { once: true });
    try {
      return await Promise.race([flight.result, left.promise]);
    } finally {
      signal?.removeEventListener("abort", leave);
      flight.waiting -= 1;
      // Nobody is told when it is done anyway, which is the rule: an error with its stack would be made each time.
      if (flight.waiting === 0 && !flight.settled) flight.controller.abort(abortError(signal, `waiting for ${key}`));
    }
  }

  /** Cancels everything; the callers get the reason. */
  abort(reason: Error): void {
    for (const flight of this.#flights.values()) flight.controller.abort(reason);
  }

  #begin(key: string, work: (signal: AbortSignal) => Promise<T>): Flight<T> {
    const controller = new AbortController();
    const result = work(controller.signal);
    const flight: Flight<T> = { controller, result, waiting: 0, settled: false };
    this.#flights.set(key, flight);
    const clear = (): void => {
      flight.settled = true;
      if (this.#flights.get(key) === flight) this.#flights.delete(key);
    };
    result.then(clear, clear);
    return flight;
  }
}
