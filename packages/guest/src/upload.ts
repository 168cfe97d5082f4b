import type { Channel, Clock } from "@caisson/contract";
import type { Wire } from "./answer.ts";
import { within } from "./deadline.ts";

/** How long an upload may take. */
export interface UploadLimits {
  readonly clock: Clock;
  /** Time for the answer after the last byte, in ms. */
  readonly answerMs: number;
  /** Time in which each piece must be taken, in ms; absent: as long as it takes. */
  readonly stallMs?: number;
}

/**
 * Sends a source's bytes and its end, then gives the reply. A source that fails aborts the call, so that nothing of it
 * counts; an answer that comes before the source is through stops it.
 */
export async function upload(channel: Channel, source: AsyncIterable<Uint8Array>, limits: UploadLimits): Promise<Wire> {
  const { clock, answerMs, stallMs } = limits;
  const items = source[Symbol.asyncIterator]();
  let closed = false;
  let wake: (() => void) | undefined;
  void channel.closed.then(() => {
    closed = true;
    wake?.();
  });
  /** The next item, or undefined when there is none or nobody wants it. */
  const next = (): Promise<Uint8Array | undefined> =>
    new Promise((resolve, reject) => {
      wake = () => resolve(undefined);
      items.next().then((result) => resolve(result.done === true ? undefined : result.value), reject);
    });
  try {
    for (let bytes = await next(); bytes !== undefined && !closed; bytes = await next()) {
      const taken = channel.write(bytes);
      try {
        await (stallMs === undefined ? taken : within(clock, stallMs, taken, () => undefined));
      } catch (error) {
        // A call that was answered already says more by its answer than by the refused write.
        if (!closed) throw error;
      }
    }
  } catch (error) {
    channel.cancel();
    throw error;
  } finally {
    // A source that waits for something would keep us waiting too.
    if (closed) items.return?.().catch(() => undefined);
  }
  channel.end();
  return within(clock, answerMs, channel.reply, () => channel.cancel());
}
