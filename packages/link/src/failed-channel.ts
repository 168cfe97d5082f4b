import type { CaissonError, Channel } from "@caisson/contract";

/** A call that failed before it could begin: the reply rejects, there are no frames. */
export function failedChannel(error: CaissonError): Channel {
  const reply = Promise.reject<Readonly<Record<string, unknown>>>(error);
  // The contract: never an unhandled rejection, whether or not someone looks at the reply.
  reply.catch(() => undefined);
  return {
    reply,
    closed: Promise.resolve(),
    write: () => Promise.reject(error),
    end: () => undefined,
    cancel: () => undefined,
    [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(error) }),
  };
}
