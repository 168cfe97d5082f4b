import {
  CaissonError,
  type CallOptions,
  type Channel,
  type ChannelFrame,
  type ChannelOpener,
  type Clock,
  type WriteOptions,
} from "@caisson/contract";

/** A call on an opener that is still to come. Deadline and signal count from now. */
export class DeferredCall implements Channel {
  readonly reply: Promise<Readonly<Record<string, unknown>>>;
  readonly closed: Promise<void>;
  readonly #channel: Promise<Channel>;
  readonly #abandon: (error: CaissonError) => void;
  #ready: Channel | undefined;
  #abandoned: CaissonError | undefined;

  constructor(
    opener: Promise<ChannelOpener>,
    clock: Clock,
    method: string,
    params: Readonly<Record<string, unknown>>,
    options: CallOptions,
  ) {
    const { signal, deadlineMs } = options;
    const started = clock.monotonic();
    const gate = Promise.withResolvers<ChannelOpener>();
    this.#abandon = (error) => {
      this.#abandoned ??= error;
      gate.reject(error);
    };
    const timer =
      deadlineMs === undefined
        ? undefined
        : clock.schedule(deadlineMs, () => this.#abandon(new CaissonError("deadline_exceeded", `No answer within ${deadlineMs} ms.`)));
    const abort = (): void => this.#abandon(new CaissonError("cancelled", "The caller cancelled.", { cause: signal?.reason }));
    signal?.addEventListener("abort", abort, { once: true });
    if (signal?.aborted === true) abort();
    opener.then(gate.resolve, gate.reject);
    const release = (): void => {
      timer?.cancel();
      signal?.removeEventListener("abort", abort);
    };
    this.#channel = gate.promise.finally(release).then((ready) => {
      if (this.#abandoned !== undefined) throw this.#abandoned;
      const left = deadlineMs === undefined ? {} : { deadlineMs: Math.max(1, Math.ceil(deadlineMs - (clock.monotonic() - started))) };
      this.#ready = ready.open(method, params, { ...options, ...left });
      return this.#ready;
    });
    this.reply = this.#channel.then((channel) => channel.reply);
    this.reply.catch(() => undefined);
    this.closed = this.#channel.then(
      (channel) => channel.closed,
      () => undefined,
    );
  }

  // Everything goes through the same promise, even once it is there: so nothing overtakes what waited.

  async write(bytes: Uint8Array, stream?: number, options?: WriteOptions): Promise<void> {
    return (await this.#channel).write(bytes, stream, options);
  }

  end(): void {
    this.#channel.then(
      (channel) => channel.end(),
      () => undefined,
    );
  }

  cancel(): void {
    if (this.#ready !== undefined) this.#ready.cancel();
    else this.#abandon(new CaissonError("cancelled", "The call was cancelled."));
  }

  [Symbol.asyncIterator](): AsyncIterator<ChannelFrame> {
    const inner = this.#channel.then((channel) => channel[Symbol.asyncIterator]());
    inner.catch(() => undefined);
    return {
      next: async () => (await inner).next(),
      return: () => {
        this.cancel();
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }
}
