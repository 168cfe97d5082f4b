import type { IncomingMessage } from "node:http";
import { CaissonError, type Clock } from "@caisson/contract";

/** How long an upload is waited for. */
export interface UploadBounds {
  readonly clock: Clock;
  /** Aborted: reading stops at once, with the signal's reason. */
  readonly signal: AbortSignal;
  /** Longest pause of the client, in ms. */
  readonly idleMs: number;
}

/**
 * The raw body of a request, at the pace of its consumer. It ends only when all of it came: a client that goes away or
 * stands still makes it throw, so that half an upload is never taken for a whole one.
 */
export async function* readUpload(message: IncomingMessage, bounds: UploadBounds): AsyncGenerator<Uint8Array, void, void> {
  const { clock, signal, idleMs } = bounds;
  let wake: (() => void) | undefined;
  const onEvent = (): void => wake?.();
  for (const event of ["readable", "end", "close", "error"]) message.on(event, onEvent);
  signal.addEventListener("abort", onEvent, { once: true });
  let late = false;
  try {
    for (;;) {
      if (signal.aborted) throw signal.reason as Error;
      const bytes = message.read() as Buffer | null;
      if (bytes !== null) {
        yield bytes;
        continue;
      }
      if (message.readableEnded) return;
      if (message.destroyed) throw new CaissonError("cancelled", "The client went away before all of the body came.");
      if (late) throw new CaissonError("deadline_exceeded", `The client sent nothing for ${idleMs} ms.`);
      const timer = clock.schedule(idleMs, () => {
        late = true;
        onEvent();
      });
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
      timer.cancel();
    }
  } finally {
    for (const event of ["readable", "end", "close", "error"]) message.off(event, onEvent);
    signal.removeEventListener("abort", onEvent);
  }
}
