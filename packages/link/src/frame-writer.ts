import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { recycleBytes } from "@caisson/contract";
import { HEADER_BYTES, writeHeader } from "./frame.ts";
import { encodeMap } from "./messagepack-encode.ts";

/** Bytes waiting in the stream above which senders of data wait. */
const HIGH_WATER = 1_048_576;
/** Payloads up to this size are copied behind their header instead of being written apart. */
const COPY_BYTES = 4096;

/** Writes frames to a stream; what is written within one turn of the event loop leaves in one system call. */
export class FrameWriter {
  readonly #stream: Duplex;
  /** Whether what was written is nobody's any more: the kernel has it. A stream within the process may hand it on. */
  readonly #copies: boolean;
  readonly #waiting = new Set<() => void>();
  #corked = false;
  #held: Buffer[] | undefined = [];

  constructor(stream: Duplex) {
    this.#stream = stream;
    this.#copies = stream instanceof Socket;
    stream.on("drain", () => this.#wake());
  }

  /** Bytes not yet taken by the stream. */
  get pending(): number {
    return this.#stream.writableLength;
  }

  /** Whether a sender of data may write now. */
  get hasRoom(): boolean {
    return this.#held === undefined && this.#stream.writableLength < HIGH_WATER;
  }

  /** Calls `run` once when there may be room again. */
  whenRoom(run: () => void): void {
    this.#waiting.add(run);
  }

  /** Lets the frames held back until the handshake go. */
  release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const frame of held) this.#write(frame);
    this.#wake();
  }

  /** Writes a frame with a MessagePack map. Throws `invalid_argument` when it cannot be encoded; nothing is sent then. */
  map(kind: number, channel: number, flags: number, map: Readonly<Record<string, unknown>>, limit: number): number {
    const frame = encodeMap(map, HEADER_BYTES, limit);
    writeHeader(frame, frame.length - HEADER_BYTES, channel, kind, flags);
    this.#later(frame);
    return frame.length - HEADER_BYTES;
  }

  /** Writes a small frame with raw bytes. */
  raw(kind: number, channel: number, flags: number, payload: Uint8Array): void {
    const frame = Buffer.allocUnsafe(HEADER_BYTES + payload.length);
    writeHeader(frame, payload.length, channel, kind, flags);
    frame.set(payload, HEADER_BYTES);
    this.#later(frame);
  }

  /**
   * Writes a data frame; a large payload is not copied, so it must not change until it was sent. `whole` is what it is the last
   * part of, given when nobody needs that any more: pooled bytes go back once they were sent.
   */
  data(kind: number, channel: number, flags: number, payload: Uint8Array, whole?: Uint8Array): void {
    if (payload.length <= COPY_BYTES) return this.raw(kind, channel, flags, payload);
    const header = Buffer.allocUnsafe(HEADER_BYTES);
    writeHeader(header, payload.length, channel, kind, flags);
    this.#write(header);
    if (whole === undefined || !this.#copies) this.#write(payload);
    else this.#write(payload, whole);
  }

  /** Writes a whole frame at once, even before anything held back. */
  now(frame: Uint8Array): void {
    this.#write(frame);
  }

  /** Everyone who waits for room is told, for the last time. */
  stop(): void {
    this.#held = undefined;
    this.#wake();
  }

  #later(frame: Buffer): void {
    if (this.#held !== undefined) this.#held.push(frame);
    else this.#write(frame);
  }

  #write(bytes: Uint8Array, whole?: Uint8Array): void {
    if (this.#stream.destroyed || this.#stream.writableEnded) return;
    if (!this.#corked) {
      this.#corked = true;
      this.#stream.cork();
      process.nextTick(() => {
        this.#corked = false;
        this.#stream.uncork();
        // Without a write that filled the buffer no drain comes, so waiters are looked after here too.
        if (this.#waiting.size > 0 && this.hasRoom) this.#wake();
      });
    }
    if (whole === undefined) this.#stream.write(bytes);
    else this.#stream.write(bytes, (error) => (error ? undefined : recycleBytes(whole)));
  }

  #wake(): void {
    if (this.#waiting.size === 0) return;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const run of waiting) run();
  }
}
