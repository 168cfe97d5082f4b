import { incompleteTail, encodeBytes, type EncodedBytes } from "./utf8-splitter.ts";

/** Bytes of the end of a stream that an error tells. */
const TAIL_BYTES = 16_384;

/** First size of the buffer for what is kept; it doubles as needed. */
const FIRST_BYTES = 4_096;

/** Keeps the first bytes of a stream up to a limit, and beyond that the last ones for errors. */
export class OutputCollector {
  readonly #limit: number;
  #kept: Buffer = Buffer.alloc(0);
  #length = 0;
  #last: Buffer = Buffer.alloc(0);
  #lastLength = 0;
  #missed = false;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Whether anything written was not kept. */
  get truncated(): boolean {
    return this.#missed;
  }

  add(bytes: Uint8Array): void {
    const fits = Math.min(bytes.length, this.#limit - this.#length);
    if (fits > 0) {
      this.#grow(this.#length + fits);
      this.#kept.set(bytes.subarray(0, fits), this.#length);
      this.#length += fits;
    }
    if (fits < bytes.length) {
      this.#missed = true;
      this.#addLast(bytes.subarray(fits));
    }
  }

  /** Notes bytes that were lost before they came here. */
  gap(): void {
    this.#missed = true;
  }

  /** What was kept, for a JSON answer. */
  encoded(): EncodedBytes {
    const all = this.#kept.subarray(0, this.#length);
    // A cut in the middle of a character must not turn the whole text into base64.
    return encodeBytes(this.#missed ? all.subarray(0, all.length - incompleteTail(all)) : all);
  }

  /** What was kept as text; what is not UTF-8 is replaced. */
  text(): string {
    const all = this.#kept.subarray(0, this.#length);
    return all.subarray(0, this.#missed ? all.length - incompleteTail(all) : all.length).toString("utf8");
  }

  /** The last bytes as text, for people. */
  tail(): string {
    const last = this.#last.subarray(Math.max(0, this.#lastLength - TAIL_BYTES), this.#lastLength);
    const before = this.#kept.subarray(Math.max(0, this.#length - (TAIL_BYTES - last.length)), this.#length);
    return Buffer.concat([before, last]).toString("utf8");
  }

  #grow(needed: number): void {
    if (needed <= this.#kept.length) return;
    const larger = Buffer.allocUnsafe(Math.min(this.#limit, Math.max(needed, this.#kept.length * 2, FIRST_BYTES)));
    this.#kept.copy(larger, 0, 0, this.#length);
    this.#kept = larger;
  }

  #addLast(bytes: Uint8Array): void {
    if (this.#last.length === 0) this.#last = Buffer.allocUnsafe(TAIL_BYTES * 2);
    const part = bytes.subarray(-TAIL_BYTES);
    if (this.#lastLength + part.length > this.#last.length) {
      this.#last.copyWithin(0, this.#lastLength - TAIL_BYTES, this.#lastLength);
      this.#lastLength = TAIL_BYTES;
    }
    this.#last.set(part, this.#lastLength);
    this.#lastLength += part.length;
  }
}
