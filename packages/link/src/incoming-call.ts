import { CaissonError, type WriteOptions } from "@caisson/contract";
import { ChannelEnd, errorMap, type ChannelHost, type LastFrame } from "./channel-end.ts";
import { FLAG_ERROR, FLAG_FIN, KIND, MAX_CONTROL_BYTES, protocolError } from "./frame.ts";

/** What an open frame says. */
export interface CallHead {
  readonly method: string;
  readonly params: Readonly<Record<string, unknown>>;
  /** Time the caller will wait for the reply, in ms from its arrival. */
  readonly deadlineMs: number | undefined;
}

/** A call the other side made: answer it by `reply` or `fail`, then stream. Its frames are the caller's. */
export class IncomingCall extends ChannelEnd implements CallHead {
  readonly method: string;
  readonly params: Readonly<Record<string, unknown>>;
  readonly deadlineMs: number | undefined;
  #replied = false;
  #controller: AbortController | undefined;
  #error: CaissonError | undefined;

  constructor(host: ChannelHost, id: number, head: CallHead) {
    super(host, id);
    this.method = head.method;
    this.params = head.params;
    this.deadlineMs = head.deadlineMs;
  }

  /** Aborted when the channel breaks or the caller loses interest; not when both sides ended. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#error !== undefined) this.#controller.abort(this.#error);
    return this.#controller.signal;
  }

  /** Answers the call, once. Does nothing on a closed channel. */
  reply(value: Readonly<Record<string, unknown>>, options: LastFrame = {}): void {
    if (this.isClosed) return;
    if (this.#replied) throw new CaissonError("internal", `The call ${this.method} was answered twice.`);
    this.host.writer.map(KIND.reply, this.id, options.fin === undefined ? 0 : FLAG_FIN, value, MAX_CONTROL_BYTES);
    this.#replied = true;
    if (options.fin === undefined) return;
    this.outbox.markEnded();
    this.selfEnded();
  }

  /** Fails the call: as its reply, or by aborting the channel when it was answered already. */
  fail(error: CaissonError): void {
    if (this.isClosed) return;
    if (this.#replied) return this.abort(error);
    this.#replied = true;
    this.host.writer.map(KIND.reply, this.id, FLAG_ERROR | FLAG_FIN, errorMap(error), MAX_CONTROL_BYTES);
    this.inbox.drop(error);
    this.close(error);
  }

  /** The call itself was the last frame of the caller. */
  callerEnded(): void {
    this.peerEnded();
  }

  override end(): void {
    if (this.#replied) super.end();
    else this.fail(new CaissonError("internal", `The call ${this.method} ended without an answer.`));
  }

  override write(bytes: Uint8Array, stream = 0, options: WriteOptions = {}): Promise<void> {
    return this.#replied ? super.write(bytes, stream, options) : this.#tooEarly();
  }

  override sendEvent(event: Readonly<Record<string, unknown>>, options: LastFrame = {}): Promise<void> {
    return this.#replied ? super.sendEvent(event, options) : this.#tooEarly();
  }

  #tooEarly(): Promise<void> {
    const refused = Promise.reject(this.#error ?? new CaissonError("internal", `The call ${this.method} streamed before its answer.`));
    refused.catch(() => undefined);
    return refused;
  }

  protected override leave(): void {
    // A callee that has enough input still owes its answer; the caller is held by its credit until then.
  }

  protected override checkStream(): void {
    // A caller may stream at once.
  }

  protected override receiveReply(): void {
    throw protocolError("a reply from the caller");
  }

  protected override onClose(error: CaissonError | undefined): void {
    if (error === undefined) return;
    this.#error = error;
    this.#controller?.abort(error);
  }
}
