import type { Duplex } from "node:stream";
import { CaissonError, isCaissonError, VERSION, type CallOptions, type ChannelOpener, type Timer } from "@caisson/contract";
import { errorMap, type ChannelEnd } from "./channel-end.ts";
import { encodeFrame, FLAG_ERROR, FLAG_FIN, FLAG_PONG, KIND, MAX_CHANNELS, MAX_CONTROL_BYTES, protocolError } from "./frame.ts";
import { FrameDecoder, type FrameSink } from "./frame-decoder.ts";
import { FrameWriter } from "./frame-writer.ts";
import { freeChunk } from "./free-chunk.ts";
import { agree, PROTOCOL_RANGE, type Peer } from "./hello.ts";
import { IncomingCall, type CallHead } from "./incoming-call.ts";
import { KeepAlive } from "./keep-alive.ts";
import type { LinkOptions } from "./link-options.ts";
import { decodeMap } from "./messagepack-decode.ts";
import { encodeMap } from "./messagepack-encode.ts";
import { OutgoingCall } from "./outgoing-call.ts";
import { readError } from "./wire-error.ts";

/** Output the other side did not take, in bytes, above which we stop reading: it may not make us answer without end. */
const FLOOD_BYTES = 2_097_152;
/** Time for a farewell to leave, in ms. */
const FAREWELL_MS = 1000;

/** Many channels over one byte stream, both ways. It owns the stream from its construction on; chunks need only last as long as their event. */
export class Link implements ChannelOpener {
  /** Resolves after the handshake; rejects when it failed. Never an unhandled rejection. */
  readonly ready: Promise<Peer>;
  /** Resolves with the reason when the link has ended; never rejects. */
  readonly closed: Promise<CaissonError>;
  readonly #stream: Duplex;
  readonly #options: LinkOptions;
  readonly #writer: FrameWriter;
  readonly #decoder: FrameDecoder;
  readonly #channels = new Map<number, ChannelEnd>();
  readonly #protocol: readonly [number, number];
  readonly #maxChannels: number;
  #nextId: number;
  #lastPeerId = 0;
  #ours = 0;
  #theirs = 0;
  #peer: Peer | undefined;
  #ended: CaissonError | undefined;
  #helloTimer: Timer | undefined;
  #keepAlive: KeepAlive | undefined;
  #settleReady: { resolve: (peer: Peer) => void; reject: (error: CaissonError) => void } | undefined;
  #resolveClosed: (reason: CaissonError) => void = () => undefined;

  constructor(stream: Duplex, options: LinkOptions) {
    this.#stream = stream;
    this.#options = options;
    this.#protocol = options.protocol ?? PROTOCOL_RANGE;
    this.#maxChannels = options.maxChannels ?? MAX_CHANNELS;
    this.#nextId = options.role === "dialler" ? 1 : 2;
    this.ready = new Promise((resolve, reject) => (this.#settleReady = { resolve, reject }));
    this.ready.catch(() => undefined);
    this.closed = new Promise((resolve) => (this.#resolveClosed = resolve));
    this.#writer = new FrameWriter(stream);
    this.#decoder = new FrameDecoder(this.#sink());
    stream.on("data", (chunk: Buffer) => this.#take(chunk));
    stream.on("end", () => this.#end(this.#lost("the other side closed the connection")));
    stream.on("error", (cause) => this.#end(this.#lost(cause.message, cause)));
    stream.on("close", () => this.#end(this.#lost("the connection was closed")));
    stream.on("drain", () => stream.resume());
    const deadline = options.helloDeadlineMs ?? 10_000;
    this.#helloTimer = options.clock.schedule(deadline, () => this.#end(this.#lost(`no hello within ${deadline} ms`)));
    if (options.role === "dialler") this.#sendHello();
    if (stream.destroyed) this.#end(this.#lost("the connection was closed"));
  }

  /** Why the link ended; undefined while it lives. */
  get reason(): CaissonError | undefined {
    return this.#ended;
  }

  /** Channels open now, both ways. */
  get openChannels(): number {
    return this.#channels.size;
  }

  open(method: string, params: Readonly<Record<string, unknown>>, options: CallOptions = {}): OutgoingCall {
    const id = this.#nextId;
    const call = new OutgoingCall(this.#host("ours"), id);
    const refusal = this.#refusal(options);
    if (refusal !== undefined) {
      call.broke(refusal);
      return call;
    }
    try {
      const flags = options.noInput === undefined ? 0 : FLAG_FIN;
      this.#writer.map(KIND.open, id, flags, { method, params, deadline_ms: options.deadlineMs }, MAX_CONTROL_BYTES);
    } catch (error) {
      call.broke(error as CaissonError);
      return call;
    }
    this.#nextId += 2;
    this.#ours++;
    this.#channels.set(id, call);
    if (options.noInput !== undefined) call.inputSent();
    call.watch(this.#options.clock, options);
    return call;
  }

  /** Ends the link and every open channel. A reason that is given is told to the other side. Idempotent. */
  close(reason?: CaissonError): void {
    if (reason === undefined) this.#end(this.#lost("the link was closed"));
    else this.#end(reason, "tell");
  }

  #refusal(options: CallOptions): CaissonError | undefined {
    if (this.#ended !== undefined) return this.#lostBy(this.#ended, "unsent");
    if (options.signal?.aborted === true) return new CaissonError("cancelled", "The caller cancelled.", { cause: options.signal.reason });
    if (this.#ours >= this.#maxChannels) return this.#tooMany();
    // Numbers are never used again; a fresh link has them all.
    if (this.#nextId > 0xffff_ffff) this.#end(this.#lost("all channel numbers were used"));
    return this.#ended && this.#lostBy(this.#ended, "unsent");
  }

  /** What a call fails with that the link takes with it. `unsent`: the other side never heard of it, another way may be tried. */
  #lostBy(cause: CaissonError, how?: "unsent"): CaissonError {
    return new CaissonError(this.#options.lostCode ?? "agent_unreachable", cause.message, { cause, ...(how && { unsent: true }) });
  }

  #tooMany(): CaissonError {
    return new CaissonError("resource_exhausted", `${this.#maxChannels} calls are open on this link.`);
  }

  #host(whose: "ours" | "theirs"): { writer: FrameWriter; forget: (id: number) => void } {
    return {
      writer: this.#writer,
      forget: (id) => {
        if (!this.#channels.delete(id)) return;
        if (whose === "ours") this.#ours--;
        else this.#theirs--;
      },
    };
  }

  #lost(reason: string, cause?: unknown): CaissonError {
    return new CaissonError(this.#options.lostCode ?? "agent_unreachable", `The link ended: ${reason}.`, { cause });
  }

  #sendHello(): void {
    const { build, features } = this.#options;
    const hello = { protocol: this.#protocol, build: build ?? `caisson/${VERSION}`, features: features ?? [] };
    this.#writer.now(encodeFrame(KIND.hello, 0, 0, encodeMap(hello, 0, MAX_CONTROL_BYTES)));
  }

  #take(chunk: Buffer): void {
    if (this.#ended !== undefined) return;
    this.#keepAlive?.heard();
    try {
      this.#decoder.push(chunk);
    } catch (error) {
      this.#end(isCaissonError(error) ? error : new CaissonError("internal", "The link failed.", { cause: error }));
    }
    if (this.#options.ownsChunks === true) freeChunk(chunk);
    if (this.#writer.pending > FLOOD_BYTES) this.#stream.pause();
  }

  #sink(): FrameSink {
    return {
      header: (kind, channel, flags, length) => {
        if (this.#ended !== undefined) return;
        if (this.#peer === undefined ? kind !== KIND.hello : kind === KIND.hello) {
          if (kind === KIND.end && channel === 0) return;
          throw protocolError(kind === KIND.hello ? "a second hello" : "a frame came before hello");
        }
        if (channel === 0) return;
        if (kind === KIND.open) return this.#checkNewId(channel);
        const known = this.#channels.get(channel);
        if (known !== undefined) known.accept(kind, flags, length);
        else if (!this.#wasOpened(channel)) throw protocolError(`channel ${channel} was never opened`);
      },
      data: (channel, flags, payload) => {
        if (this.#ended === undefined) this.#channels.get(channel)?.receiveData(flags, payload);
      },
      control: (kind, channel, flags, payload) => {
        if (this.#ended !== undefined) return;
        if (kind === KIND.open) this.#receiveOpen(channel, flags, payload);
        else if (channel === 0) this.#receiveOnLink(kind, flags, payload);
        else this.#channels.get(channel)?.receiveControl(kind, flags, payload);
      },
    };
  }

  #checkNewId(id: number): void {
    const parity = this.#options.role === "dialler" ? 0 : 1;
    if (id % 2 !== parity) throw protocolError(`channel ${id} is not the other side's to open`);
    if (id <= this.#lastPeerId) throw protocolError(`channel ${id} was used before`);
    this.#lastPeerId = id;
  }

  #wasOpened(id: number): boolean {
    const own = id % 2 === (this.#options.role === "dialler" ? 1 : 0);
    return own ? id < this.#nextId : id <= this.#lastPeerId;
  }

  #receiveOnLink(kind: number, flags: number, payload: Buffer): void {
    if (kind === KIND.hello) return this.#receiveHello(payload);
    if (kind === KIND.ping) {
      if (flags !== FLAG_PONG) this.#writer.raw(KIND.ping, 0, FLAG_PONG, payload);
      return;
    }
    const error = readError(payload);
    this.#end(new CaissonError(error.code, `The other side ended the link: ${error.message}`, { cause: error }), "told");
  }

  #receiveHello(payload: Buffer): void {
    // The listener says its versions even when they do not fit, so that both sides can tell why.
    if (this.#options.role === "listener") this.#sendHello();
    this.#peer = agree(this.#protocol, payload);
    this.#helloTimer?.cancel();
    this.#settleReady?.resolve(this.#peer);
    this.#writer.release();
    if (this.#options.keepAlive === undefined) return;
    this.#keepAlive = new KeepAlive(
      this.#options.clock,
      this.#options.keepAlive,
      () => this.#writer.raw(KIND.ping, 0, 0, Buffer.alloc(8)),
      () => this.#end(this.#lost("the other side is silent")),
    );
  }

  #receiveOpen(id: number, flags: number, payload: Buffer): void {
    const { head, unknown } = readOpen(payload);
    const call = new IncomingCall(this.#host("theirs"), id, head);
    this.#channels.set(id, call);
    this.#theirs++;
    if ((flags & FLAG_FIN) !== 0) call.callerEnded();
    if (this.#theirs > this.#maxChannels) return call.fail(this.#tooMany());
    if (unknown !== undefined) return call.fail(new CaissonError("invalid_argument", `A call has no field ${unknown.slice(0, 64)}.`));
    if (this.#options.onOpen === undefined) return call.fail(new CaissonError("unsupported", "This side takes no calls."));
    try {
      this.#options.onOpen(call);
    } catch (error) {
      call.fail(isCaissonError(error) ? error : new CaissonError("internal", "The call failed.", { cause: error }));
    }
  }

  #end(reason: CaissonError, how?: "tell" | "told"): void {
    if (this.#ended !== undefined) return;
    this.#ended = reason;
    this.#helloTimer?.cancel();
    this.#keepAlive?.stop();
    if (how === "tell" || (how === undefined && reason.code === "protocol_error"))
      this.#writer.now(encodeFrame(KIND.end, 0, FLAG_ERROR, encodeMap(errorMap(reason), 0, MAX_CONTROL_BYTES)));
    this.#writer.stop();
    // Why the link ended is not why a call failed: a credential that ran out is none of the caller's.
    const broken = reason.code === "protocol_error" ? reason : this.#lostBy(reason);
    for (const channel of this.#channels.values()) channel.broke(broken);
    this.#settleReady?.reject(reason);
    this.#farewell();
    this.#resolveClosed(reason);
  }

  /** Lets what was written leave, within a time limit, and drops what still arrives. */
  #farewell(): void {
    const stream = this.#stream;
    if (stream.destroyed) return;
    const timer = this.#options.clock.schedule(FAREWELL_MS, () => stream.destroy());
    stream.once("close", () => timer.cancel());
    stream.resume();
    stream.end(() => stream.destroy());
  }
}

function readOpen(payload: Buffer): { head: CallHead; unknown: string | undefined } {
  const { method, params, deadline_ms: deadlineMs, ...rest } = decodeMap(payload);
  if (typeof method !== "string" || method.length > 128) throw protocolError("a call without a method");
  if (typeof params !== "object" || params === null || Array.isArray(params) || params instanceof Uint8Array)
    throw protocolError("a call without parameters");
  if (deadlineMs !== undefined && (typeof deadlineMs !== "number" || !Number.isSafeInteger(deadlineMs) || deadlineMs < 0))
    throw protocolError("the deadline of a call is not a number of milliseconds");
  const head = { method, params: params as Readonly<Record<string, unknown>>, deadlineMs };
  return { head, unknown: Object.keys(rest)[0] };
}
