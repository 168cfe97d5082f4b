import { CaissonError, type CallOptions, type Channel, type Clock, type Timer } from "@caisson/contract";
import { ChannelEnd, type ChannelHost } from "./channel-end.ts";
import { FLAG_ERROR, protocolError } from "./frame.ts";
import { decodeMap } from "./messagepack-decode.ts";
import { readError } from "./wire-error.ts";

/** A call we made. */
export class OutgoingCall extends ChannelEnd implements Channel {
  readonly reply: Promise<Readonly<Record<string, unknown>>>;
  #settle: { resolve: (value: Readonly<Record<string, unknown>>) => void; reject: (error: CaissonError) => void } | undefined;
  #timer: Timer | undefined;
  #unlisten: (() => void) | undefined;

  constructor(host: ChannelHost, id: number) {
    super(host, id);
    this.reply = new Promise((resolve, reject) => (this.#settle = { resolve, reject }));
    // A caller that only looks at the frames must not bring the process down.
    this.reply.catch(() => undefined);
  }

  /** Starts to watch the signal and the deadline; call it once the call was sent. */
  watch(clock: Clock, options: CallOptions): void {
    const { signal, deadlineMs } = options;
    if (this.isClosed) return;
    if (deadlineMs !== undefined)
      this.#timer = clock.schedule(deadlineMs, () =>
        this.abort(new CaissonError("deadline_exceeded", `No answer within ${deadlineMs} ms.`)),
      );
    if (signal === undefined) return;
    const abort = (): void => this.abort(new CaissonError("cancelled", "The caller cancelled.", { cause: signal.reason }));
    signal.addEventListener("abort", abort, { once: true });
    this.#unlisten = () => signal.removeEventListener("abort", abort);
    if (signal.aborted) abort();
  }

  /** The call itself was the last frame of this side. */
  inputSent(): void {
    this.outbox.markEnded();
    this.selfEnded();
  }

  protected override leave(): void {
    if (!this.isClosed) this.abort(new CaissonError("cancelled", "The consumer left."));
    this.inbox.leave();
  }

  protected override checkStream(): void {
    if (this.#settle !== undefined) throw protocolError("data or an event came before the reply");
  }

  protected override receiveReply(flags: number, payload: Buffer): void {
    if (this.#settle === undefined) throw protocolError("a second reply");
    if ((flags & FLAG_ERROR) !== 0) return this.broke(readError(payload));
    const { resolve } = this.#settle;
    const value = decodeMap(payload);
    this.#settle = undefined;
    this.#timer?.cancel();
    resolve(value);
  }

  protected override peerEnded(): void {
    if (this.#settle !== undefined) throw protocolError("the callee ended without a reply");
    super.peerEnded();
  }

  protected override onClose(error: CaissonError | undefined): void {
    this.#timer?.cancel();
    this.#unlisten?.();
    this.#settle?.reject(error ?? protocolError("the callee ended without a reply"));
    this.#settle = undefined;
  }
}
