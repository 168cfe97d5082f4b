import { pooledBytes } from "@caisson/contract";
import { checkHeader, HEADER_BYTES, KIND } from "./frame.ts";

/** Where decoded frames go. What it throws ends the link. */
export interface FrameSink {
  /** A header that passed `checkHeader`, before its payload. */
  header(kind: number, channel: number, flags: number, length: number): void;
  /** A whole data frame; long ones are pooled (`recycleBytes`). */
  data(channel: number, flags: number, payload: Uint8Array): void;
  /** A whole frame of another kind. */
  control(kind: number, channel: number, flags: number, payload: Buffer): void;
}

const EMPTY = Buffer.alloc(0);

/**
 * Cuts a byte stream into frames, however it is split. Each payload is copied once, into memory of its announced, checked
 * length: so what comes in may be a buffer that its owner uses again, and a consumer gets frames as they were sent.
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
  #collect: Uint8Array = EMPTY;

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
    if (this.#length === 0) this.#deliver(EMPTY);
    else {
      this.#left = this.#length;
      this.#inPayload = true;
      this.#collect = this.#kind === KIND.data ? pooledBytes(this.#length) : Buffer.allocUnsafe(this.#length);
    }
    return next;
  }

  #payload(chunk: Buffer, at: number): number {
    const take = Math.min(this.#left, chunk.length - at);
    chunk.copy(this.#collect, this.#length - this.#left, at, at + take);
    this.#left -= take;
    if (this.#left === 0) {
      const whole = this.#collect;
      this.#collect = EMPTY;
      this.#inPayload = false;
      this.#deliver(whole);
    }
    return at + take;
  }

  #deliver(payload: Uint8Array): void {
    if (this.#kind === KIND.data) this.#sink.data(this.#channel, this.#flags, payload);
    else this.#sink.control(this.#kind, this.#channel, this.#flags, payload as Buffer);
  }
}
