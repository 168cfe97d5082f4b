import type { Changes } from "./changes.ts";

/** Most bytes kept behind what a reader took. */
const BEHIND = 16_777_216;

/** One output stream of a mock process: bytes by offset, a bounded number of them kept. */
export class OutputLog {
  /** Offset of the first byte kept. */
  start = 0;
  /** Bytes written so far. */
  end = 0;
  /** Up to where a reader took them. */
  mark = 0;
  readonly #limit: number;
  /** Bytes kept behind what a reader took, for one whose connection breaks. */
  readonly #behind: number;
  readonly #onFull: "block" | "drop";
  readonly #changes: Changes;
  #chunks: { readonly offset: number; readonly bytes: Uint8Array }[] = [];

  constructor(limit: number, onFull: "block" | "drop", changes: Changes) {
    this.#limit = limit;
    this.#behind = onFull === "drop" ? 0 : Math.min(limit, BEHIND);
    this.#onFull = onFull;
    this.#changes = changes;
  }

  /** Appends; waits for its reader when it is full and must not drop. `stop` ends the waiting. */
  async append(bytes: Uint8Array, stop: AbortSignal): Promise<void> {
    let rest = bytes;
    while (rest.length > 0) {
      stop.throwIfAborted();
      const room = this.#onFull === "drop" ? rest.length : this.#limit - (this.end - this.mark);
      if (room <= 0) {
        await this.#changes.next();
        continue;
      }
      const piece = Uint8Array.from(rest.subarray(0, room));
      this.#chunks.push({ offset: this.end, bytes: piece });
      this.end += piece.length;
      rest = rest.subarray(room);
      this.#trim();
      this.#changes.notify();
    }
  }

  /** Up to 64 KiB from an offset that is kept. */
  read(at: number, until: number): Uint8Array {
    const chunk = this.#chunks.findLast((piece) => piece.offset <= at);
    if (chunk === undefined) return new Uint8Array(0);
    const from = at - chunk.offset;
    return chunk.bytes.subarray(from, from + Math.min(65_536, until - at));
  }

  /** A reader took everything before this offset. */
  taken(offset: number): void {
    this.mark = offset;
    this.#changes.notify();
  }

  #trim(): void {
    const oldest = this.end - this.#limit - this.#behind;
    while (this.#chunks.length > 0) {
      const first = this.#chunks[0] as { offset: number; bytes: Uint8Array };
      if (first.offset >= oldest) break;
      const cut = oldest - first.offset;
      if (cut < first.bytes.length) {
        this.#chunks[0] = { offset: oldest, bytes: first.bytes.subarray(cut) };
        break;
      }
      this.#chunks.shift();
    }
    this.start = this.#chunks[0]?.offset ?? this.end;
  }
}
