import { isAscii, isUtf8 } from "node:buffer";

/** Bytes as they go into JSON. */
export interface EncodedBytes {
  readonly data: string;
  readonly encoding?: "base64";
}

/** A piece of a stream that cuts no character, with the offset of its first byte. */
export interface Piece {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** Bytes as text when they are UTF-8, else in base64. */
export function encodeBytes(bytes: Uint8Array): EncodedBytes {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (isAscii(buffer)) return { data: buffer.toString("latin1") };
  return isUtf8(buffer) ? { data: buffer.toString("utf8") } : { data: buffer.toString("base64"), encoding: "base64" };
}

/** How many bytes at the end begin a character that more bytes could complete. */
export function incompleteTail(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back += 1) {
    const byte = bytes[bytes.length - back] ?? 0;
    if ((byte & 0xc0) === 0x80) continue;
    const needed = byte >= 0xf5 || byte < 0xc2 ? 1 : byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
    return needed > back ? back : 0;
  }
  return 0;
}

/** Turns the chunks of one stream into pieces that never cut a character: an incomplete one waits for the next chunk. */
export class Utf8Splitter {
  #held: Uint8Array = new Uint8Array(0);
  #heldOffset = 0;

  /** The piece that a chunk completes; undefined when all of it is held back. */
  push(offset: number, bytes: Uint8Array): Piece | undefined {
    const start = this.#held.length === 0 ? offset : this.#heldOffset;
    const all = this.#held.length === 0 ? bytes : Buffer.concat([this.#held, bytes]);
    const tail = incompleteTail(all);
    // Copied: the link may reuse its buffer.
    this.#held = tail === 0 ? EMPTY : Buffer.from(all.subarray(all.length - tail));
    this.#heldOffset = start + all.length - tail;
    return all.length === tail ? undefined : { offset: start, bytes: tail === 0 ? all : all.subarray(0, all.length - tail) };
  }

  /** What is held back, when nothing can complete it any more. */
  flush(): Piece | undefined {
    if (this.#held.length === 0) return undefined;
    const piece = { offset: this.#heldOffset, bytes: this.#held };
    this.#held = EMPTY;
    return piece;
  }
}

const EMPTY = new Uint8Array(0);
