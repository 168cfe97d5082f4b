/** Time as the rest of the code sees it; handed in so that tests and the simulator own it. */
export interface Clock {
  /** Wall-clock time in ms since the Unix epoch. It may jump. */
  now(): number;
  /** Monotonic time in ms from an arbitrary start. It never goes back. */
  monotonic(): number;
  /** Resolves after `ms`; rejects with the signal's reason when aborted first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** Calls `run` once after `ms` unless cancelled. */
  schedule(ms: number, run: () => void): Timer;
}

/** A scheduled call. */
export interface Timer {
  cancel(): void;
}

/** The machine's own clock. Its timers do not keep a process alive. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason as Error);
      const timer = setTimeout(() => {
        signal?.removeEventListener("abort", abort);
        resolve();
      }, ms);
      const abort = (): void => {
        clearTimeout(timer);
        reject(signal?.reason as Error);
      };
      signal?.addEventListener("abort", abort, { once: true });
    }),
  schedule: (ms, run) => {
    const timer = setTimeout(run, ms);
    timer.unref();
    return { cancel: () => clearTimeout(timer) };
  },
};
