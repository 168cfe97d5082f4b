import { createHash } from "node:crypto";
import { CaissonError } from "@caisson/contract";

/** Bytes on their way to a file, with what must hold before the last of them is let through. */
export class CheckedBytes {
  readonly #source: AsyncIterable<Uint8Array>;
  readonly #expected: string | undefined;
  readonly #beforeEnd: () => Promise<void>;
  readonly #hash = createHash("sha256");
  #sha256: string | undefined;

  /** `expected` is the announced SHA-256 in hex; `beforeEnd` throws when the file must not be put in place after all. */
  constructor(source: AsyncIterable<Uint8Array>, expected: string | undefined, beforeEnd: () => Promise<void> = async () => undefined) {
    this.#source = source;
    this.#expected = expected;
    this.#beforeEnd = beforeEnd;
  }

  /** The digest of the bytes that went through; there once all of them did. */
  get sha256(): string {
    return (this.#sha256 ??= this.#hash.digest("hex"));
  }

  /** The bytes. Throws `digest_mismatch` instead of ending when they are not what was announced. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, void> {
    for await (const bytes of this.#source) {
      this.#hash.update(bytes);
      yield bytes;
    }
    if (this.#expected !== undefined && this.sha256 !== this.#expected) {
      throw new CaissonError(
        "digest_mismatch",
        `The bytes that came have the SHA-256 ${this.sha256}, not ${this.#expected}; nothing was changed.`,
        {
          detail: { sha256: this.sha256 },
        },
      );
    }
    await this.#beforeEnd();
  }
}
