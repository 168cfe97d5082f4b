import { CaissonError } from "@caisson/contract";
import { FLAG_FIN, HEADER_BYTES, INITIAL_CREDIT, KIND, MAX_CREDIT, protocolError } from "./frame.ts";
import type { FrameWriter } from "./frame-writer.ts";

/** Largest data frame we send: small enough that channels take turns. */
const CHUNK_BYTES = 65_536;
const EMPTY = new Uint8Array(0);

interface Job {
  readonly kind: number;
  readonly flags: number;
  bytes: Uint8Array;
  /** What `bytes` is the rest of, where nobody needs that any more. */
  readonly whole?: Uint8Array | undefined;
  readonly resolve: () => void;
  readonly reject: (error: CaissonError) => void;
}

/** What one side of a channel still has to send: in order, within the credit it was granted and the room on the link. */
export class SendQueue {
  readonly #writer: FrameWriter;
  readonly #channel: number;
  readonly #ended: () => void;
  #jobs: Job[] = [];
  #credit = INITIAL_CREDIT;
  #state: "open" | "ending" | "ended" | "closed" = "open";
  #error: CaissonError | undefined;
  #waitsForRoom = false;

  /** `ended` is called once when the end of this side was sent. */
  constructor(writer: FrameWriter, channel: number, ended: () => void) {
    this.#writer = writer;
    this.#channel = channel;
    this.#ended = ended;
  }

  /** Whether `end` was asked for or the channel broke. */
  get closed(): boolean {
    return this.#state !== "open" || this.#error !== undefined;
  }

  /** Sends bytes; `recycle` gives pooled ones back once they were sent. */
  data(bytes: Uint8Array, stream: number, recycle: boolean): Promise<void> {
    const whole = recycle ? bytes : undefined;
    // The fast path: nothing waits, and all of it may go at once.
    if (!this.closed && this.#jobs.length === 0 && bytes.length <= this.#credit && bytes.length <= CHUNK_BYTES && this.#writer.hasRoom) {
      if (bytes.length > 0) {
        this.#credit -= bytes.length;
        this.#writer.data(KIND.data, this.#channel, stream, bytes, whole);
      }
      return Promise.resolve();
    }
    return this.#add(KIND.data, stream, bytes, whole);
  }

  /** Sends a whole event frame, header included. */
  event(frame: Buffer, fin: 0 | typeof FLAG_FIN): Promise<void> {
    const done = this.#add(KIND.event, fin, frame);
    if (fin !== 0 && this.#state === "open") this.#state = "ending";
    this.#pump();
    return done;
  }

  /** Sends no more after what waits now. */
  end(): void {
    if (this.closed) return;
    this.#jobs.push({ kind: KIND.end, flags: 0, bytes: EMPTY, resolve: () => undefined, reject: () => undefined });
    this.#state = "ending";
    this.#pump();
  }

  /** Says that a frame with FIN went out by another way. */
  markEnded(): void {
    this.#state = "ended";
  }

  /** More credit. Throws `protocol_error` beyond the limit. */
  grant(bytes: number): void {
    if (bytes === 0) throw protocolError("a credit of nothing");
    if (this.#credit + bytes > MAX_CREDIT) throw protocolError("more credit than the protocol allows");
    this.#credit += bytes;
    this.#pump();
  }

  /** Both sides ended: nothing waits any more, and nothing may follow. */
  close(): void {
    this.#state = "closed";
  }

  /** The channel broke: what waits is rejected. */
  fail(error: CaissonError): void {
    this.#error ??= error;
    const jobs = this.#jobs;
    this.#jobs = [];
    for (const job of jobs) job.reject(this.#error);
  }

  #add(kind: number, flags: number, bytes: Uint8Array, whole?: Uint8Array): Promise<void> {
    const error = this.#error ?? this.#refusal();
    const done = new Promise<void>((resolve, reject) => {
      if (error === undefined) this.#jobs.push({ kind, flags, bytes, whole, resolve, reject });
      else reject(error);
    });
    // A writer that does not wait learns of the break by its channel; it must not bring the process down.
    done.catch(() => undefined);
    if (error !== undefined) return done;
    if (kind === KIND.data) this.#pump();
    return done;
  }

  #refusal(): CaissonError | undefined {
    if (this.#state === "open") return undefined;
    if (this.#state === "closed") return new CaissonError("cancelled", "The channel is closed.");
    return protocolError("a write after the end of the channel");
  }

  #pump(): void {
    while (this.#jobs.length > 0) {
      const job = this.#jobs[0] as Job;
      if (!this.#writer.hasRoom) return this.#waitForRoom();
      if (!this.#send(job)) return;
    }
  }

  /** Sends what may go of a job; whether the queue may go on. */
  #send(job: Job): boolean {
    if (job.kind === KIND.data && job.bytes.length > 0) {
      const size = Math.min(job.bytes.length, this.#credit, CHUNK_BYTES);
      if (size === 0) return false;
      this.#credit -= size;
      const rest = job.bytes.subarray(size);
      const fin = rest.length === 0 && this.#jobs[1]?.kind === KIND.end;
      const flags = job.flags | (fin ? FLAG_FIN : 0);
      this.#writer.data(KIND.data, this.#channel, flags, job.bytes.subarray(0, size), rest.length === 0 ? job.whole : undefined);
      job.bytes = rest;
      if (rest.length > 0) return true;
      if (fin) this.#jobs.splice(1, 1);
      this.#done(job, fin ? FLAG_FIN : 0);
    } else if (job.kind === KIND.event) {
      if (job.bytes.length - HEADER_BYTES > this.#credit) return false;
      this.#credit -= job.bytes.length - HEADER_BYTES;
      this.#writer.now(job.bytes);
      this.#done(job, job.flags);
    } else {
      if (job.kind === KIND.end) this.#writer.raw(KIND.end, this.#channel, 0, EMPTY);
      this.#done(job, job.kind === KIND.end ? FLAG_FIN : 0);
    }
    return true;
  }

  #done(job: Job, fin: number): void {
    this.#jobs.shift();
    job.resolve();
    if (fin === 0) return;
    this.#state = "ended";
    this.#ended();
  }

  #waitForRoom(): void {
    if (this.#waitsForRoom) return;
    this.#waitsForRoom = true;
    this.#writer.whenRoom(() => {
      this.#waitsForRoom = false;
      this.#pump();
    });
  }
}
