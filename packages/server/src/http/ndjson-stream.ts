import { recycleBytes, type Clock, type Timer } from "@caisson/contract";
import type { FastifyReply } from "fastify";
import { BodyWriter } from "./body-writer.ts";
import { sendHead } from "./send-head.ts";

/** Bytes gathered before they are handed to the socket within one turn. */
const FLUSH_AT = 65_536;

/** An answer of one JSON value per line. Awaiting `write` is back-pressure from the client's socket. */
export class NdjsonStream<T extends object> {
  readonly #body: BodyWriter;
  #pending: Uint8Array[] = [];
  #size = 0;
  #scheduled = false;
  #timer: Timer | undefined;

  /** Takes over the reply and sends its head. */
  constructor(reply: FastifyReply, signal: AbortSignal) {
    this.#body = new BodyWriter(reply.raw, signal);
    sendHead(reply, 200, { "content-type": "application/x-ndjson" });
  }

  /**
   * Adds a line again and again until the end, but where the client has no room: whoever hears nothing for minutes takes the
   * connection for dead.
   */
  repeat(line: T, { clock, everyMs }: { readonly clock: Clock; readonly everyMs: number }): void {
    this.#timer = clock.schedule(everyMs, () => {
      if (!this.#body.full) {
        this.#add(line);
        this.#flush();
      }
      this.repeat(line, { clock, everyMs });
    });
  }

  /**
   * Adds a line: a value, or the bytes of a line that was made elsewhere, which are the stream's own then. What it returns, if anything, resolves when the
   * client has room for the next, or rejects with the signal's reason.
   */
  write(line: T | Uint8Array): Promise<void> | undefined {
    this.#add(line);
    if (this.#size >= FLUSH_AT) this.#flush();
    else if (!this.#scheduled) {
      this.#scheduled = true;
      // Lines that come in one turn go out in one piece.
      process.nextTick(() => this.#flush());
    }
    return this.#body.full ? this.#body.room() : undefined;
  }

  /** Adds last lines without waiting and ends the answer. */
  end(...last: readonly (T | Uint8Array)[]): void {
    this.#timer?.cancel();
    for (const line of last) this.#add(line);
    this.#flush();
    this.#body.end();
  }

  #add(line: T | Uint8Array): void {
    const bytes = line instanceof Uint8Array ? line : Buffer.from(`${JSON.stringify(line)}\n`);
    this.#pending.push(bytes);
    this.#size += bytes.length;
  }

  #flush(): void {
    this.#scheduled = false;
    const [first, ...more] = this.#pending;
    if (first === undefined) return;
    if (more.length === 0) this.#body.write(first);
    else {
      this.#body.write(Buffer.concat(this.#pending, this.#size));
      for (const line of this.#pending) recycleBytes(line);
    }
    this.#pending = [];
    this.#size = 0;
  }
}
