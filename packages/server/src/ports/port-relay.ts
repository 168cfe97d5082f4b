import type { Duplex } from "node:stream";
import { CaissonError, portControlSchema, type Clock, type PortControl, type PortSign } from "@caisson/contract";
import { parseMessage } from "../exec-socket/client-message.ts";
import { OutputWindow } from "../exec-socket/output-window.ts";
import type { PeerMessage, SocketPeer } from "../http/socket-peer.ts";

/** Largest message, in bytes: what a slow peer may leave in its socket is little more. */
const MAX_PIECE = 65_536;

/** How long the last bytes of a client that has gone are given to a server that does not take them, in ms. */
const LAST_BYTES_MS = 5_000;

/** What a relay works with. */
export interface PortRelayOptions {
  /** Most bytes of one direction that are not acknowledged; undefined: the connections alone slow the senders. */
  readonly window: number | undefined;
  readonly clock: Clock;
  /** Aborted when the server closes. */
  readonly signal: AbortSignal;
}

/**
 * One client and one TCP connection into a sandbox: bytes both ways at the pace of who takes them, and each side's end is
 * told to the other. With a window the client is read at once whatever it sends, since it cannot send more than that; so its
 * acknowledgements never wait behind its bytes.
 */
export class PortRelay {
  readonly #peer: SocketPeer;
  readonly #connection: Duplex;
  readonly #options: PortRelayOptions;
  readonly #window: OutputWindow;
  readonly #failed = Promise.withResolvers<never>();
  readonly #inputEnded = Promise.withResolvers<void>();
  #ended = false;
  /** Bytes of the client that the sandbox has not taken. */
  #pending = 0;

  constructor(peer: SocketPeer, connection: Duplex, options: PortRelayOptions) {
    this.#peer = peer;
    this.#connection = connection;
    this.#options = options;
    this.#window = new OutputWindow(options.window);
    // A failure counts when somebody waits for it.
    this.#failed.promise.catch(() => undefined);
  }

  /** Runs until both sides have ended or the client has gone. Throws what broke the connection. */
  async run(): Promise<void> {
    const { signal } = this.#options;
    const connection = this.#connection;
    const abort = (): void => this.#failed.reject(signal.reason as Error);
    signal.addEventListener("abort", abort, { once: true });
    if (signal.aborted) abort();
    connection.on("error", (error) => this.#failed.reject(broken(error)));
    connection.once("close", () => {
      if (!connection.readableEnded || !connection.writableFinished) this.#failed.reject(broken(undefined));
    });
    connection.on("drain", () => this.#peer.release("input"));
    try {
      this.#peer.tell({ type: "connected" } satisfies PortSign);
      this.#peer.receiver = (message) => {
        try {
          this.#receive(message);
        } catch (error) {
          this.#failed.reject(error as Error);
        }
      };
      const gone = this.#peer.closed.then(() => this.#leave());
      const both = Promise.all([this.#output(gone), this.#inputEnded.promise]);
      both.catch(() => undefined); // told by the race, or nobody waits any more
      await Promise.race([both, gone, this.#failed.promise]);
    } finally {
      signal.removeEventListener("abort", abort);
      this.#peer.receiver = () => undefined;
      connection.destroy();
    }
  }

  /** What the server in the sandbox says. */
  async #output(gone: Promise<void>): Promise<void> {
    try {
      // Its end is not the end of what it is told.
      for await (const chunk of this.#connection.iterator({ destroyOnReturn: false })) await this.#send(chunk as Uint8Array);
    } catch (error) {
      if (this.#peer.gone) return gone;
      throw broken(error);
    }
    return this.#peer.tell({ type: "end" } satisfies PortSign);
  }

  async #send(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      const room = await this.#window.take(Math.min(MAX_PIECE, bytes.length - at));
      await this.#peer.sendBytes(bytes.subarray(at, at + room));
      at += room;
    }
  }

  #receive(message: PeerMessage): void {
    if (message.kind === "text") return this.#control(parseMessage(message.bytes, portControlSchema, "The message"));
    const { length } = message.bytes;
    if (this.#ended) throw new CaissonError("invalid_request", "Bytes came after `end`.");
    if (length === 0) return;
    const { window } = this.#options;
    this.#pending += length;
    if (window !== undefined && this.#pending > window)
      throw new CaissonError("invalid_request", `More than ${window} bytes came that were not acknowledged.`);
    const roomy = this.#connection.write(message.bytes, () => {
      this.#pending -= length;
      if (window !== undefined) this.#peer.tell({ type: "ack", bytes: length } satisfies PortSign);
    });
    if (!roomy && window === undefined) this.#peer.hold("input");
  }

  #control(control: PortControl): void {
    if (control.type === "ack") return this.#window.ack(control.bytes);
    this.#ended = true;
    this.#connection.end(() => this.#inputEnded.resolve());
  }

  /** The client has gone: what it sent still arrives, where it is taken. */
  async #leave(): Promise<void> {
    const late = Promise.withResolvers<void>();
    const timer = this.#options.clock.schedule(LAST_BYTES_MS, () => late.resolve());
    if (!this.#ended) this.#connection.end(() => late.resolve());
    else void this.#inputEnded.promise.then(() => late.resolve());
    await late.promise;
    timer.cancel();
  }
}

function broken(cause: unknown): CaissonError {
  if (cause instanceof CaissonError) return cause;
  return new CaissonError("upstream_failed", "The server at that port broke off the connection.", { cause });
}
