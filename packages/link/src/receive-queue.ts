import { CaissonError, type ChannelFrame } from "@caisson/contract";
import { INITIAL_CREDIT, protocolError } from "./frame.ts";

const DONE: IteratorReturnResult<undefined> = { done: true, value: undefined };

interface Waiter {
  readonly resolve: (result: IteratorResult<ChannelFrame>) => void;
  readonly reject: (error: CaissonError) => void;
}

/** What was received on one channel and not yet taken, bounded by the credit that was granted. */
export class ReceiveQueue {
  readonly #grant: (bytes: number) => void;
  #frames: { readonly frame: ChannelFrame; readonly size: number }[] = [];
  #head = 0;
  #waiters: Waiter[] = [];
  /** What the sender may still send. */
  #credit = INITIAL_CREDIT;
  /** Size of the frame that the consumer holds. */
  #taken = 0;
  #consumed = 0;
  #end: CaissonError | "end" | "left" | undefined;

  constructor(grant: (bytes: number) => void) {
    this.#grant = grant;
  }

  /** Claims credit for a frame that was announced. Throws `protocol_error`. */
  claim(bytes: number): void {
    if (bytes > this.#credit) throw protocolError(`${bytes} bytes were sent against a credit of ${this.#credit}`);
    this.#credit -= bytes;
  }

  push(frame: ChannelFrame, size: number): void {
    if (this.#end !== undefined) return;
    const waiter = this.#waiters.shift();
    if (waiter === undefined) this.#frames.push({ frame, size });
    else {
      this.#taken = size;
      waiter.resolve({ done: false, value: frame });
    }
  }

  /** The sender sends no more. */
  finish(): void {
    this.#stop("end");
  }

  /** The channel broke: what was received may still be taken, then the error comes. */
  fail(error: CaissonError): void {
    this.#stop(error);
  }

  /** The call was given up: what was received is let go, and never looks like a whole. */
  drop(error: CaissonError): void {
    this.#end = error;
    this.#stop(error);
    this.#frames = [];
    this.#head = 0;
  }

  /** The consumer left its loop: the same, but for who asks again. */
  leave(): void {
    if (this.#end === undefined || this.#end === "end") this.#end = "left";
    this.#stop(this.#end);
    this.#frames = [];
    this.#head = 0;
  }

  next(): Promise<IteratorResult<ChannelFrame>> {
    this.#giveBack();
    const entry = this.#frames[this.#head];
    if (entry !== undefined) {
      this.#head++;
      if (this.#head === this.#frames.length) {
        this.#frames = [];
        this.#head = 0;
      } else if (this.#head > 64 && this.#head * 2 > this.#frames.length) {
        this.#frames = this.#frames.slice(this.#head);
        this.#head = 0;
      }
      this.#taken = entry.size;
      return Promise.resolve({ done: false, value: entry.frame });
    }
    if (this.#end === "end") return Promise.resolve(DONE);
    if (this.#end !== undefined) return Promise.reject(reasonOf(this.#end));
    return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }));
  }

  #giveBack(): void {
    this.#consumed += this.#taken;
    this.#taken = 0;
    if (this.#consumed < INITIAL_CREDIT / 2 || this.#end !== undefined) return;
    const bytes = this.#consumed;
    this.#consumed = 0;
    this.#credit += bytes;
    this.#grant(bytes);
  }

  #stop(end: CaissonError | "end" | "left"): void {
    this.#end ??= end;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) {
      if (this.#end === "end") waiter.resolve(DONE);
      else waiter.reject(reasonOf(this.#end));
    }
  }
}

function reasonOf(end: CaissonError | "left"): CaissonError {
  return end === "left" ? new CaissonError("cancelled", "The consumer left.") : end;
}
