import { CaissonError, toCaissonError, type Clock, type ErrorCode } from "@caisson/contract";

/** How long something may take, and what it is called when it does not. */
export interface Deadline {
  readonly clock: Clock;
  readonly ms: number;
  /** Code of the error when time is over. Default `deadline_exceeded`. */
  readonly code?: ErrorCode;
  /** What was done, for the message: `starting the box`. */
  readonly doing: string;
  /** The caller's own signal. */
  readonly signal?: AbortSignal | undefined;
}

/** A signal that ends with the deadline or the caller's signal; its reason is a CaissonError that says which. Dispose of it. */
export function deadlineSignal(deadline: Deadline): Disposable & { readonly signal: AbortSignal } {
  const { clock, ms, doing, signal } = deadline;
  const controller = new AbortController();
  const timer = clock.schedule(ms, () =>
    controller.abort(new CaissonError(deadline.code ?? "deadline_exceeded", `Time was over after ${ms} ms: ${doing}.`)),
  );
  const abort = (): void => controller.abort(abortError(signal, doing));
  if (signal?.aborted) abort();
  signal?.addEventListener("abort", abort, { once: true });
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => {
      timer.cancel();
      signal?.removeEventListener("abort", abort);
    },
  };
}

/**
 * Runs something with a deadline and does not wait any longer: work that does not heed the signal is left behind, its
 * outcome ignored. What is thrown then says whether time was over or the caller went away.
 */
export async function withDeadline<T>(deadline: Deadline, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  using limit = deadlineSignal(deadline);
  const { signal } = limit;
  signal.throwIfAborted();
  const ended = Promise.withResolvers<never>();
  ended.promise.catch(() => undefined);
  signal.addEventListener("abort", () => ended.reject(signal.reason as CaissonError), { once: true });
  try {
    return await Promise.race([work(signal), ended.promise]);
  } catch (error) {
    throw signal.aborted ? (signal.reason as CaissonError) : error;
  }
}

/** The reason of a signal as a CaissonError: its own when it is one, else `cancelled`. */
export function abortError(signal: AbortSignal | undefined, doing: string): CaissonError {
  const reason: unknown = signal?.reason;
  if (reason instanceof CaissonError) return reason;
  return new CaissonError("cancelled", `Cancelled: ${doing}.`, reason === undefined ? {} : { cause: toCaissonError(reason) });
}
