import { CaissonError, type Clock } from "@caisson/contract";

/** A wait and its bound. */
export interface Deadline {
  readonly clock: Clock;
  readonly ms: number;
  /** What is waited for, for the message: "the start of the sandbox". */
  readonly what: string;
  /** Ends the wait early; the error is its reason. */
  readonly signal?: AbortSignal;
}

/**
 * Runs `run` and waits for it no longer than the deadline (`deadline_exceeded`), even when it ignores the signal it gets.
 * What it does after that is its own affair: nobody hears of it.
 */
export async function withDeadline<T>(deadline: Deadline, run: (signal: AbortSignal) => Promise<T>): Promise<T> {
  deadline.signal?.throwIfAborted();
  const controller = new AbortController();
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = (reason: unknown): void => {
    controller.abort(reason);
    reject(reason);
  };
  const cancelled = (): void => abort(deadline.signal?.reason);
  deadline.signal?.addEventListener("abort", cancelled, { once: true });
  const timer = deadline.clock.schedule(deadline.ms, () =>
    abort(new CaissonError("deadline_exceeded", `Waited ${Math.round(deadline.ms)} ms for ${deadline.what}.`)),
  );
  try {
    return await Promise.race([run(controller.signal), promise]);
  } finally {
    timer.cancel();
    deadline.signal?.removeEventListener("abort", cancelled);
  }
}
