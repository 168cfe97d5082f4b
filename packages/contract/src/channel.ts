/** Bytes or an event received on a channel, in the order they were sent. */
export type ChannelFrame =
  | { readonly kind: "data"; readonly stream: number; readonly bytes: Uint8Array }
  | { readonly kind: "event"; readonly event: Readonly<Record<string, unknown>> };

/** Streams of data frames (docs/protocol.md). */
export const STREAM_INPUT = 0;
export const STREAM_STDOUT = 1;
export const STREAM_STDERR = 2;

/** One call in progress: a reply, and frames both ways under credit. */
export interface Channel extends AsyncIterable<ChannelFrame> {
  /** The callee's reply; rejects with a CaissonError. Never an unhandled rejection. */
  readonly reply: Promise<Readonly<Record<string, unknown>>>;
  /**
   * Frames of the callee, one consumer. Taking the next frame gives credit for the last one back, so a slow consumer
   * slows the sender. Ends when the callee ended; throws a CaissonError when the channel was aborted. Leaving the loop
   * early cancels the channel.
   */
  [Symbol.asyncIterator](): AsyncIterator<ChannelFrame>;
  /** Sends bytes on a stream (default input); resolves when the link took them all, so awaiting it is back-pressure. */
  write(bytes: Uint8Array, stream?: number, options?: WriteOptions): Promise<void>;
  /** Sends no more; the callee may go on. */
  end(): void;
  /** Loses interest: aborts both ways. Does nothing on a closed channel. */
  cancel(): void;
  /** Resolves when the channel is closed, for whatever reason; never rejects. */
  readonly closed: Promise<void>;
}

/** Options of a write. */
export interface WriteOptions {
  /** Nobody will look at these bytes again: pooled ones (`pooledBytes`) are given back once they were sent. */
  readonly recycle?: true;
}

/** Options of a call. */
export interface CallOptions {
  readonly signal?: AbortSignal;
  /** Time the caller waits for the reply, in ms. Streams after the reply are not bounded by it. */
  readonly deadlineMs?: number;
  /** Sends no input: half-closes with the call itself. */
  readonly noInput?: true;
}

/** Something that opens channels: a link, or a route to one. */
export interface ChannelOpener {
  /** Starts a call. Failures arrive through `reply`. */
  open(method: string, params: Readonly<Record<string, unknown>>, options?: CallOptions): Channel;
}
