import { CaissonError, type ChannelFrame, type WriteOptions } from "@caisson/contract";
import { FLAG_ERROR, FLAG_FIN, HEADER_BYTES, KIND, MAX_CONTROL_BYTES, MAX_EVENT_BYTES, protocolError, writeHeader } from "./frame.ts";
import type { FrameWriter } from "./frame-writer.ts";
import { decodeMap } from "./messagepack-decode.ts";
import { encodeMap } from "./messagepack-encode.ts";
import { ReceiveQueue } from "./receive-queue.ts";
import { SendQueue } from "./send-queue.ts";
import { readError, toErrorMap } from "./wire-error.ts";

/** What a channel needs of its link. */
export interface ChannelHost {
  readonly writer: FrameWriter;
  /** The channel is closed. */
  forget(id: number): void;
}

/** Options of a frame that may be the last. */
export interface LastFrame {
  /** This side sends no more after it. */
  readonly fin?: true;
}

/** One end of a channel: what caller and callee have in common. */
export abstract class ChannelEnd implements AsyncIterable<ChannelFrame> {
  readonly id: number;
  /** Resolves when the channel is closed, for whatever reason; never rejects. */
  readonly closed: Promise<void>;
  protected readonly host: ChannelHost;
  protected readonly inbox: ReceiveQueue;
  protected readonly outbox: SendQueue;
  #peerEnded = false;
  #selfEnded = false;
  #isClosed = false;
  #resolveClosed: () => void = () => undefined;

  constructor(host: ChannelHost, id: number) {
    this.host = host;
    this.id = id;
    this.closed = new Promise((resolve) => (this.#resolveClosed = resolve));
    this.inbox = new ReceiveQueue((bytes) => {
      if (this.#isClosed || this.#peerEnded) return;
      const payload = Buffer.allocUnsafe(4);
      payload.writeUInt32BE(bytes);
      host.writer.raw(KIND.credit, id, 0, payload);
    });
    this.outbox = new SendQueue(host.writer, id, () => this.selfEnded());
  }

  /** Whether the other side has said that it sends no more. */
  get peerHasEnded(): boolean {
    return this.#peerEnded;
  }

  protected get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Sends bytes on a stream; resolves when the link took them all. They must not change afterwards. */
  write(bytes: Uint8Array, stream = 0, { recycle }: WriteOptions = {}): Promise<void> {
    return this.outbox.data(bytes, stream, recycle === true);
  }

  /** Sends an event; its size is limited to half a window. Resolves when the link took it. */
  sendEvent(event: Readonly<Record<string, unknown>>, options: LastFrame = {}): Promise<void> {
    let frame: Buffer;
    try {
      frame = encodeMap(event, HEADER_BYTES, MAX_EVENT_BYTES);
    } catch (error) {
      return Promise.reject(error as CaissonError);
    }
    const fin = options.fin === undefined ? 0 : FLAG_FIN;
    writeHeader(frame, frame.length - HEADER_BYTES, this.id, KIND.event, fin);
    return this.outbox.event(frame, fin);
  }

  /** Sends no more; the other side may go on. */
  end(): void {
    this.outbox.end();
  }

  /** Aborts the channel both ways with a reason. Does nothing on a closed channel. */
  abort(reason: CaissonError): void {
    if (this.#isClosed) return;
    this.host.writer.map(KIND.end, this.id, FLAG_ERROR, errorMap(reason), MAX_CONTROL_BYTES);
    this.inbox.drop(reason);
    this.close(reason);
  }

  /** Loses interest: aborts both ways. */
  cancel(): void {
    // Almost every call is let go when it is over already; an error with its stack would be made for nothing.
    if (!this.#isClosed) this.abort(new CaissonError("cancelled", "The call was cancelled."));
  }

  [Symbol.asyncIterator](): AsyncIterator<ChannelFrame> {
    return {
      next: () => this.inbox.next(),
      return: () => {
        this.leave();
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }

  /** Checks a header of a frame for this channel. Throws `protocol_error`. */
  accept(kind: number, flags: number, length: number): void {
    if (kind === KIND.credit || (kind === KIND.end && (flags & FLAG_ERROR) !== 0)) return;
    if (this.#peerEnded) throw protocolError(`a frame of kind ${kind} after the end of channel ${this.id}`);
    if (kind === KIND.data || kind === KIND.event) {
      this.checkStream();
      this.inbox.claim(length);
    }
  }

  receiveData(flags: number, payload: Uint8Array): void {
    if (payload.length > 0) this.inbox.push({ kind: "data", stream: flags & 0x0f, bytes: payload }, payload.length);
    if ((flags & FLAG_FIN) !== 0) this.peerEnded();
  }

  receiveControl(kind: number, flags: number, payload: Buffer): void {
    switch (kind) {
      case KIND.event: {
        const event = decodeMap(payload);
        if (typeof event["type"] !== "string") throw protocolError("an event without a type");
        this.inbox.push({ kind: "event", event }, payload.length);
        break;
      }
      case KIND.reply:
        this.receiveReply(flags, payload);
        break;
      case KIND.credit:
        this.outbox.grant(payload.readUInt32BE(0));
        return;
      case KIND.end:
        if ((flags & FLAG_ERROR) !== 0) return this.broke(readError(payload));
        return this.peerEnded();
      default:
        throw protocolError(`a frame of kind ${kind} on an open channel`);
    }
    if ((flags & FLAG_FIN) !== 0 && !this.#isClosed) this.peerEnded();
  }

  /** The channel broke, by the other side or with the link: what was received may still be taken. */
  broke(error: CaissonError): void {
    if (this.#isClosed) return;
    this.inbox.fail(error);
    this.close(error);
  }

  /** The consumer left its loop early. */
  protected abstract leave(): void;
  /** Throws `protocol_error` when the other side may not send data or events yet. */
  protected abstract checkStream(): void;
  protected abstract receiveReply(flags: number, payload: Buffer): void;
  /** Called once when the channel is closed; `error` is why, undefined when both sides ended. */
  protected abstract onClose(error: CaissonError | undefined): void;

  protected peerEnded(): void {
    this.#peerEnded = true;
    this.inbox.finish();
    if (this.#selfEnded) this.close(undefined);
  }

  protected selfEnded(): void {
    this.#selfEnded = true;
    if (this.#peerEnded) this.close(undefined);
  }

  protected close(error: CaissonError | undefined): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (error === undefined) this.outbox.close();
    else this.outbox.fail(error);
    this.host.forget(this.id);
    this.onClose(error);
    this.#resolveClosed();
  }
}

/** An error map that always fits: a detail that cannot be encoded is left out. */
export function errorMap(error: CaissonError): Record<string, unknown> {
  const map = toErrorMap(error);
  try {
    encodeMap(map, 0, MAX_CONTROL_BYTES);
    return map;
  } catch {
    // Only the detail can fail to encode; code and message matter more.
    return toErrorMap(new CaissonError(error.code, error.message));
  }
}
