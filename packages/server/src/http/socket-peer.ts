import type { Duplex } from "node:stream";
import { CaissonError, closeCodeOf, type Clock, type Timer } from "@caisson/contract";
import type { RawData, WebSocket } from "ws";

/** One message of a peer. */
export interface PeerMessage {
  readonly kind: "text" | "binary";
  readonly bytes: Buffer;
}

/** Bytes that may wait in a socket before its writer waits. */
const WRITE_AHEAD = 65_536;

/** Bytes of answers that may wait in a socket of a peer that does not read, before nothing more is read from it. */
const ANSWERS_AHEAD = 262_144;

/** Pings without a sign of life before a peer counts as gone. */
const MAX_UNANSWERED = 3;

/** Time for a peer to take the close of a server that shuts down, in ms. */
const CLOSING_MS = 2_000;

/** Why a peer is not read. */
type Hold = "receiver" | "input" | "answers";

/** A WebSocket with pings, bounded buffers and close codes that say why. It begins unread; `receive` starts it. */
export class SocketPeer {
  readonly #socket: WebSocket;
  readonly #connection: Duplex & { readonly bytesRead?: number };
  readonly #clock: Clock;
  readonly #pingMs: number;
  readonly #holds = new Set<Hold>(["receiver"]);
  readonly #backlog: PeerMessage[] = [];
  /** Resolves when the connection has gone. */
  readonly closed: Promise<void>;
  #receiver: ((message: PeerMessage) => void) | undefined;
  #timer: Timer;
  #unanswered = 0;
  #bytesRead = 0;
  #pongs = 0;

  /** `socket` is paused, as `acceptWebSocket` gives it; `connection` is what carries it. */
  constructor(socket: WebSocket, connection: Duplex, clock: Clock, pingMs: number) {
    this.#socket = socket;
    this.#connection = connection;
    this.#clock = clock;
    this.#pingMs = pingMs;
    this.closed = new Promise((resolve) => {
      socket.once("close", () => resolve());
    });
    // What is wrong with a frame closes the socket with the code for it; there is nobody else to tell.
    socket.on("error", () => undefined);
    socket.on("message", (data, isBinary) => this.#take({ kind: isBinary ? "binary" : "text", bytes: toBuffer(data) }));
    socket.on("ping", (data) => this.#pong(data));
    this.#timer = clock.schedule(pingMs, () => this.#tick());
    void this.closed.then(() => this.#timer.cancel());
  }

  /** Whether nothing more can be sent. */
  get gone(): boolean {
    return this.#socket.readyState !== this.#socket.OPEN;
  }

  /** Who gets the messages from now on, those that came before included; undefined: nobody yet, so the peer is not read. */
  set receiver(receiver: ((message: PeerMessage) => void) | undefined) {
    this.#receiver = receiver;
    if (receiver === undefined) this.hold("receiver");
    else this.release("receiver");
    this.#deliver();
  }

  /** The next message; rejects with `deadline_exceeded` when none comes in time, and with `cancelled` when the peer goes. */
  next(withinMs: number): Promise<PeerMessage> {
    return new Promise((resolve, reject) => {
      const timer = this.#clock.schedule(withinMs, () => {
        this.receiver = undefined;
        reject(new CaissonError("deadline_exceeded", `No message came within ${withinMs / 1000} s.`));
      });
      void this.closed.then(() => reject(new CaissonError("cancelled", "The client went away.")));
      this.receiver = (message) => {
        timer.cancel();
        this.receiver = undefined;
        resolve(message);
      };
    });
  }

  /** Stops reading the peer until `release`. What was read already still comes. */
  hold(why: Hold): void {
    if (this.gone) return;
    if (this.#holds.size === 0) this.#socket.pause();
    this.#holds.add(why);
  }

  release(why: Hold): void {
    if (this.#holds.delete(why) && this.#holds.size === 0) this.#socket.resume();
  }

  /** Sends a small text message; a peer that makes us send many and takes none is not read meanwhile. */
  tell(message: object): void {
    if (this.gone) return;
    this.#socket.send(JSON.stringify(message), () => this.#answersTaken());
    if (this.#socket.bufferedAmount > ANSWERS_AHEAD) this.hold("answers");
  }

  /** Sends bytes behind one byte that tells what they are; resolves when there is room for more. Rejects when the peer has gone. */
  send(mark: number, bytes: Uint8Array): Promise<void> | undefined {
    const framed = Buffer.allocUnsafe(bytes.length + 1);
    framed[0] = mark;
    framed.set(bytes, 1);
    return this.sendBytes(framed);
  }

  /** Sends bytes as a binary message of their own, likewise. */
  sendBytes(bytes: Uint8Array): Promise<void> | undefined {
    if (this.#socket.bufferedAmount + bytes.length <= WRITE_AHEAD) {
      this.#socket.send(bytes, () => this.#answersTaken());
      return undefined;
    }
    return new Promise((resolve, reject) => {
      this.#socket.send(bytes, (error) => {
        this.#answersTaken();
        if (error) reject(error);
        else resolve();
      });
    });
  }

  /** Ends the conversation in order, with a code of RFC 6455 or the one that belongs to an error. */
  close(why: "done" | CaissonError): void {
    // The other side's own close must be read, whatever comes before it.
    this.#receiver = () => undefined;
    this.#deliver();
    for (const hold of this.#holds) this.release(hold);
    if (why === "done") return this.#socket.close(1000, "exit");
    if (why.code !== "shutting_down") return this.#socket.close(closeCodeOf(why.entry.status), why.code);
    this.#socket.close(1001, why.code);
    this.#timer.cancel();
    this.#timer = this.#clock.schedule(CLOSING_MS, () => this.#socket.terminate());
  }

  #take(message: PeerMessage): void {
    this.#backlog.push(message);
    this.#deliver();
  }

  /** Each message in its turn to whoever receives then. */
  #deliver(): void {
    while (this.#receiver !== undefined) {
      const message = this.#backlog.shift();
      if (message === undefined) return;
      this.#receiver(message);
    }
  }

  #answersTaken(): void {
    if (this.#holds.has("answers") && this.#socket.bufferedAmount <= WRITE_AHEAD) this.release("answers");
  }

  #pong(data: Buffer): void {
    // One pong answers all pings that came before it.
    if (this.#pongs > 0 || this.gone) return;
    this.#pongs += 1;
    this.#socket.pong(data, undefined, () => {
      this.#pongs -= 1;
    });
  }

  #tick(): void {
    const bytesRead = this.#connection.bytesRead ?? 0;
    // A peer that we do not read cannot show that it is there.
    if (bytesRead !== this.#bytesRead || this.#holds.size > 0) this.#unanswered = 0;
    this.#bytesRead = bytesRead;
    if (this.#unanswered >= MAX_UNANSWERED) return this.#socket.terminate();
    this.#unanswered += 1;
    if (!this.gone) this.#socket.ping();
    this.#timer = this.#clock.schedule(this.#pingMs, () => this.#tick());
  }
}

function toBuffer(data: RawData): Buffer {
  if (Buffer.isBuffer(data)) return data;
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data);
}
