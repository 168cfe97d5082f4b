import { checkHeader, HEADER_BYTES, KIND } from "./frame.ts";

/** Where decoded frames go. What it throws ends the link. */
export interface FrameSink {
  /** A header that passed `checkHeader`, before its payload. */
  header(kind: number, channel: number, flags: number, length: number): void;
  /** Bytes of a data frame, maybe a part of it; `last` is the one that completes the frame. */
  data(channel: number, flags: number, piece: Buffer, last: "last" | "more"): void;
  /** A whole frame of another kind. */
  control(kind: number, channel: number, flags: number, payload: Buffer): void;
}

const EMPTY = Buffer.alloc(0);

/**
 * Cuts a byte stream into frames, however it is split. Data payloads are passed on as slices of what came in, so they are
 * never collected; other payloads are collected once into a buffer of their announced, checked length.
 */
export class FrameDecoder {
  readonly #sink: FrameSink;
  readonly #partial = Buffer.alloc(HEADER_BYTES);
  #have = 0;
  #inPayload = false;
  #left = 0;
  #length = 0;
  #channel = 0;
  #kind = 0;
  #flags = 0;
  #collect: Buffer | undefined;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  /** Whether the bytes so far end between two frames. */
  get atBoundary(): boolean {
    return this.#have === 0 && !this.#inPayload;
  }

  /** Takes the next bytes. Throws `protocol_error`; nothing may be pushed after that. */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) at = this.#inPayload ? this.#payload(chunk, at) : this.#header(chunk, at);
  }

  #header(chunk: Buffer, at: number): number {
    let from = chunk;
    let offset = at;
    let next = at + HEADER_BYTES;
    if (this.#have > 0 || chunk.length - at < HEADER_BYTES) {
      const take = Math.min(HEADER_BYTES - this.#have, chunk.length - at);
      chunk.copy(this.#partial, this.#have, at, at + take);
      this.#have += take;
      if (this.#have < HEADER_BYTES) return at + take;
      this.#have = 0;
      from = this.#partial;
      offset = 0;
      next = at + take;
    }
    this.#length = from.readUInt32BE(offset);
    this.#channel = from.readUInt32BE(offset + 4);
    this.#kind = from[offset + 8] ?? 0;
    this.#flags = from[offset + 9] ?? 0;
    checkHeader(this.#length, this.#channel, this.#kind, this.#flags);
    this.#sink.header(this.#kind, this.#channel, this.#flags, this.#length);
    if (this.#length === 0) this.#deliverWhole(EMPTY);
    else {
      this.#left = this.#length;
      this.#inPayload = true;
    }
    return next;
  }

  #payload(chunk: Buffer, at: number): number {
    const take = Math.min(this.#left, chunk.length - at);
    const piece = chunk.subarray(at, at + take);
    this.#left -= take;
    if (this.#left === 0) this.#inPayload = false;
    if (this.#kind === KIND.data) {
      this.#sink.data(this.#channel, this.#flags, piece, this.#left === 0 ? "last" : "more");
    } else if (take === this.#length) {
      this.#deliverWhole(piece);
    } else {
      this.#collect ??= Buffer.allocUnsafe(this.#length);
      piece.copy(this.#collect, this.#length - this.#left - take);
      if (this.#left === 0) {
        const whole = this.#collect;
        this.#collect = undefined;
        this.#deliverWhole(whole);
      }
    }
    return at + take;
  }

  #deliverWhole(payload: Buffer): void {
    if (this.#kind === KIND.data) this.#sink.data(this.#channel, this.#flags, payload, "last");
    else this.#sink.control(this.#kind, this.#channel, this.#flags, payload);
  }
}
