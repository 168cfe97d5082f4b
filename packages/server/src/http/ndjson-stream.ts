import type { ServerResponse } from "node:http";
import type { FastifyReply } from "fastify";
import { sendHead } from "./send-head.ts";

/** Characters gathered before they are handed to the socket within one turn. */
const FLUSH_AT = 65_536;

/** An answer of one JSON value per line. Awaiting `write` is back-pressure from the client's socket. */
export class NdjsonStream<T> {
  readonly #raw: ServerResponse;
  readonly #signal: AbortSignal;
  #pending = "";
  #scheduled = false;
  #full = false;

  /** Takes over the reply and sends its head. */
  constructor(reply: FastifyReply, signal: AbortSignal) {
    this.#raw = reply.raw;
    this.#signal = signal;
    sendHead(reply, 200, { "content-type": "application/x-ndjson" });
  }

  /** Adds a line. What it returns, if anything, resolves when the client has room for the next, or rejects with the signal's reason. */
  write(value: T): Promise<void> | undefined {
    this.#pending += `${JSON.stringify(value)}\n`;
    if (this.#pending.length >= FLUSH_AT) this.#flush();
    else if (!this.#scheduled) {
      this.#scheduled = true;
      // Lines that come in one turn go out in one piece.
      process.nextTick(() => this.#flush());
    }
    return this.#full ? this.#drained() : undefined;
  }

  /** Adds a last line without waiting and ends the answer. */
  end(...last: readonly T[]): void {
    for (const value of last) this.#pending += `${JSON.stringify(value)}\n`;
    this.#flush();
    if (!this.#raw.destroyed) this.#raw.end();
  }

  #flush(): void {
    this.#scheduled = false;
    if (this.#pending === "") return;
    const text = this.#pending;
    this.#pending = "";
    if (!this.#raw.destroyed && !this.#raw.writableEnded) this.#full = !this.#raw.write(text) || this.#full;
  }

  #drained(): Promise<void> {
    return new Promise((resolve, reject) => {
      const done = (): void => {
        this.#raw.off("drain", done);
        this.#signal.removeEventListener("abort", done);
        this.#full = false;
        if (this.#signal.aborted) reject(this.#signal.reason as Error);
        else resolve();
      };
      this.#raw.once("drain", done);
      this.#signal.addEventListener("abort", done, { once: true });
      if (this.#signal.aborted) done();
    });
  }
}
