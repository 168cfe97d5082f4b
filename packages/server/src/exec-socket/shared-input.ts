import type { Guest } from "@caisson/guest";
import type { InputSink } from "./input-queue.ts";

/** Input of a process that somebody else began: its call to the guest is opened with the first bytes. */
export class SharedInput implements InputSink {
  readonly #guest: Guest;
  readonly #processId: number;
  #call: Promise<number> | undefined;
  #hand: ((bytes: Uint8Array | undefined) => void) | undefined;
  #ready: (() => void) | undefined;

  constructor(guest: Guest, processId: number) {
    this.#guest = guest;
    this.#processId = processId;
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.#call ??= this.#open();
    await this.#asked();
    this.#hand?.(bytes);
    this.#hand = undefined;
    // Asking for the next is the sign that these were taken.
    await this.#asked();
  }

  async close(): Promise<void> {
    await this.leave();
    await this.#guest.closeInput(this.#processId);
  }

  /** Ends the call to the guest; the input stays open. */
  async leave(): Promise<void> {
    if (this.#call === undefined) return;
    await this.#asked();
    this.#hand?.(undefined);
    await this.#call;
  }

  #open(): Promise<number> {
    const call = this.#guest.writeInput(this.#processId, this.#source());
    // Whoever writes next learns of a failure; until then it is nobody's.
    call.catch(() => undefined);
    return call;
  }

  /** Resolves when the call wants bytes; rejects when it ended. */
  #asked(): Promise<unknown> {
    if (this.#hand !== undefined) return Promise.resolve();
    const ready = new Promise<void>((resolve) => {
      this.#ready = resolve;
    });
    const ended = this.#call?.then(() => Promise.reject(new Error("the input was ended by the other side")));
    return Promise.race([ready, ended]);
  }

  async *#source(): AsyncGenerator<Uint8Array, void, void> {
    for (;;) {
      const bytes = await new Promise<Uint8Array | undefined>((resolve) => {
        this.#hand = resolve;
        this.#ready?.();
      });
      if (bytes === undefined) return;
      yield bytes;
    }
  }
}
