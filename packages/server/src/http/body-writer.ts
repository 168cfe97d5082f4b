import type { ServerResponse } from "node:http";
import { recycleBytes } from "@caisson/contract";

/** Writes the body of an answer at the pace of its client. */
export class BodyWriter implements Disposable {
  readonly #raw: ServerResponse;
  readonly #signal: AbortSignal;
  /** There may be nobody who waits: what is written later in the same turn fills it after its writer has looked. */
  readonly #drained = (): void => {
    this.#full = false;
    this.#wake?.();
  };
  readonly #aborted = (): void => this.#wake?.();
  #full = false;
  #wake: (() => void) | undefined;

  /** `signal` is aborted when the client has gone or the answer must end. */
  constructor(raw: ServerResponse, signal: AbortSignal) {
    this.#raw = raw;
    this.#signal = signal;
    raw.on("drain", this.#drained);
    signal.addEventListener("abort", this.#aborted);
  }

  /** Whether bytes wait for the client; then `room` must be awaited before more is written. */
  get full(): boolean {
    return this.#full;
  }

  /** Hands over bytes, which are its own from then on: pooled ones are given back. Dropped when the connection has gone. */
  write(bytes: Uint8Array): void {
    if (this.#raw.destroyed || this.#raw.writableEnded) return;
    const room = this.#raw.write(bytes, (error) => {
      if (!error) recycleBytes(bytes);
    });
    this.#full ||= !room;
  }

  /** Resolves when the client has taken what waited; rejects with the signal's reason. */
  async room(): Promise<void> {
    if (this.#full && !this.#signal.aborted)
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    this.#wake = undefined;
    if (this.#signal.aborted) throw this.#signal.reason as Error;
  }

  /** Ends the answer as a whole one. */
  end(): void {
    this[Symbol.dispose]();
    if (!this.#raw.destroyed) this.#raw.end();
  }

  [Symbol.dispose](): void {
    this.#raw.off("drain", this.#drained);
    this.#signal.removeEventListener("abort", this.#aborted);
  }
}
