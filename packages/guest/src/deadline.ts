import { CaissonError, type Clock } from "@caisson/contract";

/** The promise's result, or `deadline_exceeded` after `ms`; `late` is called then to free what the promise holds. */
export async function within<T>(clock: Clock, ms: number, promise: Promise<T>, late: () => void): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const timer = clock.schedule(ms, () => {
      reject(new CaissonError("deadline_exceeded", `The guest agent did not answer within ${ms} ms.`));
      late();
    });
    promise.then(
      (value) => {
        timer.cancel();
        resolve(value);
      },
      (error: unknown) => {
        timer.cancel();
        reject(error as Error);
      },
    );
  });
}
