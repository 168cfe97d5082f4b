const FIRST = 0x10; // Ctrl-P
const SECOND = 0x11; // Ctrl-Q

/** How long the first key waits for the second, in ms; then it is typed. */
const WAIT_MS = 500;

/** Finds Ctrl-P Ctrl-Q among what is typed. A Ctrl-P alone is passed on, a little later. */
export class DetachKeys {
  readonly #type: (bytes: Uint8Array) => void;
  #held: ReturnType<typeof setTimeout> | undefined;

  /** `type` gets what is typed, but for the keys. */
  constructor(type: (bytes: Uint8Array) => void) {
    this.#type = type;
  }

  /** Takes what was typed. True when it ends with the keys: what comes behind them is dropped. */
  take(bytes: Uint8Array): boolean {
    const all = this.#held === undefined ? bytes : Buffer.concat([Uint8Array.of(FIRST), bytes]);
    this.#release();
    const at = Buffer.from(all).indexOf(Uint8Array.of(FIRST, SECOND));
    if (at >= 0) {
      this.#pass(all.subarray(0, at));
      return true;
    }
    if (all.at(-1) !== FIRST) {
      this.#pass(all);
      return false;
    }
    this.#pass(all.subarray(0, -1));
    this.#held = setTimeout(() => {
      this.#release();
      this.#type(Uint8Array.of(FIRST));
    }, WAIT_MS);
    return false;
  }

  /** Forgets a key that waits. */
  [Symbol.dispose](): void {
    this.#release();
  }

  #release(): void {
    clearTimeout(this.#held);
    this.#held = undefined;
  }

  #pass(bytes: Uint8Array): void {
    if (bytes.length > 0) this.#type(bytes);
  }
}
