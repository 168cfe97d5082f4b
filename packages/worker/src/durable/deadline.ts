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

/**
 * Runs something with a deadline. The signal it gets ends with the deadline or the caller's signal; what is thrown when
 * either ends says which, also when the work itself does not heed the signal: it is then left behind, its outcome ignored.
 */
export async function withDeadline<T>(deadline: Deadline, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const { signal } = deadline;
  if (signal?.aborted) throw abortError(signal, deadline.doing);
  const controller = new AbortController();
  const ended = Promise.withResolvers<never>();
  const end = (error: CaissonError): void => {
    controller.abort(error);
    ended.reject(error);
  };
  const timer = deadline.clock.schedule(deadline.ms, () =>
    end(new CaissonError(deadline.code ?? "deadline_exceeded", `Time was over after ${deadline.ms} ms: ${deadline.doing}.`)),
  );
  const abort = (): void => end(abortError(signal, deadline.doing));
  signal?.addEventListener("abort", abort, { once: true });
  ended.promise.catch(() => undefined);
  try {
    return await Promise.race([work(controller.signal), ended.promise]);
  } catch (error) {
    throw controller.signal.aborted ? (controller.signal.reason as CaissonError) : error;
  } finally {
    timer.cancel();
    signal?.removeEventListener("abort", abort);
  }
}

/** The reason of a signal as a CaissonError: its own when it is one, else `cancelled`. */
export function abortError(signal: AbortSignal | undefined, doing: string): CaissonError {
  const reason: unknown = signal?.reason;
  if (reason instanceof CaissonError) return reason;
  return new CaissonError("cancelled", `Cancelled: ${doing}.`, reason === undefined ? {} : { cause: toCaissonError(reason) });
}
