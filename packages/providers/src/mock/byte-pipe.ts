/** A bounded pipe between two parts of a mock process. */
export class BytePipe {
  readonly #limit: number;
  #chunks: Uint8Array[] = [];
  #size = 0;
  #ended = false;
  #readerGone = false;
  #broken: Error | undefined;
  #waiters: (() => void)[] = [];

  /** `limit` is how many bytes it holds before a writer waits. */
  constructor(limit: number = 65_536) {
    this.#limit = limit;
  }

  /** Writes; false when nobody will read it any more. */
  async write(bytes: Uint8Array): Promise<boolean> {
    while (this.#size >= this.#limit && !this.#readerGone && this.#broken === undefined) await this.#change();
    if (this.#broken !== undefined) throw this.#broken;
    if (this.#readerGone || this.#ended) return false;
    if (bytes.length === 0) return true;
    this.#chunks.push(bytes);
    this.#size += bytes.length;
    this.#wake();
    return true;
  }

  /** The next bytes; undefined at the end. */
  async read(): Promise<Uint8Array | undefined> {
    while (this.#chunks.length === 0 && !this.#ended && this.#broken === undefined) await this.#change();
    if (this.#broken !== undefined) throw this.#broken;
    const bytes = this.#chunks.shift();
    this.#size -= bytes?.length ?? 0;
    this.#wake();
    return bytes;
  }

  /** Gives bytes back to be read again first. */
  unread(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#chunks.unshift(bytes);
    this.#size += bytes.length;
  }

  /** No more is written. */
  end(): void {
    this.#ended = true;
    this.#wake();
  }

  /** Nobody reads any more. */
  leave(): void {
    this.#readerGone = true;
    this.#chunks = [];
    this.#size = 0;
    this.#wake();
  }

  /** Ends every wait with an error: the process was killed. */
  break(error: Error): void {
    this.#broken ??= error;
    this.#wake();
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#waiters.push(resolve));
  }

  #wake(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const wake of waiters) wake();
  }
}
