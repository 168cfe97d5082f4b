import { Duplex } from "node:stream";
import type { Channel, ChannelFrame } from "@caisson/contract";

/** A connection inside the sandbox as a stream: back-pressure and half-close both ways. */
export class DialStream extends Duplex {
  readonly #channel: Channel;
  readonly #frames: AsyncIterator<ChannelFrame>;
  #reading = false;

  constructor(channel: Channel) {
    super({ allowHalfOpen: true });
    this.#channel = channel;
    this.#frames = channel[Symbol.asyncIterator]();
  }

  override _read(): void {
    if (this.#reading) return;
    this.#reading = true;
    void this.#pump();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    void this.#send(chunk, done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#channel.end();
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#channel.cancel();
    done(error);
  }

  async #send(chunk: Buffer, done: (error?: Error | null) => void): Promise<void> {
    let failed: Error | null = null;
    try {
      await this.#channel.write(chunk);
    } catch (error) {
      failed = error as Error;
    }
    done(failed);
  }

  async #pump(): Promise<void> {
    try {
      for (;;) {
        const { done, value } = await this.#frames.next();
        if (done === true) {
          this.push(null);
          return;
        }
        // A connection has no events; one is no reason to end it.
        if (value.kind === "data" && !this.push(value.bytes)) break;
      }
      this.#reading = false;
    } catch (error) {
      this.destroy(error as Error);
    }
  }
}
