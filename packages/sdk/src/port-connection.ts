import type { PortControl } from "@caisson/contract";
import { errorFromWire } from "./api-error.ts";
import { broken, closedBy, malformed } from "./web-socket.ts";

/** Largest message that is sent, in bytes. */
const MAX_PIECE = 65_536;

/**
 * A TCP connection to a port of a sandbox, made by `sandbox.ports.connect`. Back-pressure holds both ways: the server there
 * waits while `readable` is not read, and writes to `writable` wait while it does not read. Closing `writable` ends this
 * side's words, as TCP has it; the other side may still go on.
 *
 * ```ts no-run
 * using connection = await sandbox.ports.connect(5432);
 * await connection.readable.pipeTo(new WritableStream({ write: (bytes) => console.log(bytes.length) }));
 * ```
 */
export class PortConnection implements Disposable {
  /** What the server says; ends when it ended its side, fails when the connection broke. */
  readonly readable: ReadableStream<Uint8Array>;
  /** What it is told. */
  readonly writable: WritableStream<Uint8Array>;
  /** Resolves when the server in the sandbox has taken the connection. */
  readonly connected: Promise<void>;
  readonly #socket: WebSocket;
  readonly #window: number;
  readonly #took = Promise.withResolvers<void>();
  readonly #received: Uint8Array[] = [];
  /** Bytes that were taken and not acknowledged. */
  #owed = 0;
  /** Bytes that were sent and not acknowledged. */
  #sent = 0;
  #discards = false;
  #ended = false;
  #end: { readonly error: unknown } | undefined;
  #wakeReader: (() => void) | undefined;
  #wakeWriter: (() => void) | undefined;

  /** Made by `Ports`. */
  constructor(socket: WebSocket, window: number, signal: AbortSignal | undefined) {
    this.#socket = socket;
    this.#window = window;
    this.connected = this.#took.promise;
    this.connected.catch(() => undefined); // whoever waits hears of it
    socket.binaryType = "arraybuffer";
    socket.addEventListener("message", ({ data }) => this.#take(data));
    socket.addEventListener("close", ({ code, reason }) => this.#finish(code === 1000 && this.#ended ? undefined : closedBy(code, reason)));
    signal?.addEventListener("abort", () => this.#finish(signal.reason), { once: true });
    this.readable = new ReadableStream<Uint8Array>(
      {
        pull: (controller) => this.#pull(controller),
        cancel: () => {
          this.#discards = true;
          for (const bytes of this.#received.splice(0)) this.#acknowledge(bytes.length);
        },
      },
      { highWaterMark: 0 },
    );
    this.writable = new WritableStream<Uint8Array>({
      write: (bytes) => this.#write(bytes),
      close: () => this.#tell({ type: "end" }),
      abort: () => this.close(),
    });
  }

  /**
   * Breaks the connection off. Repeating it is fine.
   *
   * ```ts no-run
   * const connection = await sandbox.ports.connect(5432);
   * connection.close();
   * ```
   */
  close(): void {
    this.#finish(broken("The connection was closed."));
  }

  /** Breaks the connection off at the end of the scope that holds it with `using`. */
  [Symbol.dispose](): void {
    this.close();
  }

  async #pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    for (;;) {
      const bytes = this.#received.shift();
      if (bytes !== undefined) {
        controller.enqueue(bytes);
        return this.#acknowledge(bytes.length);
      }
      if (this.#ended) return controller.close();
      if (this.#end !== undefined) throw this.#end.error;
      await new Promise<void>((resolve) => {
        this.#wakeReader = resolve;
      });
    }
  }

  async #write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      if (this.#end !== undefined) throw this.#end.error ?? broken("The connection has ended.");
      const room = Math.min(MAX_PIECE, bytes.length - at, this.#window - this.#sent);
      if (room > 0) {
        this.#sent += room;
        this.#socket.send(bytes.slice(at, at + room));
        at += room;
      } else
        await new Promise<void>((resolve) => {
          this.#wakeWriter = resolve;
        });
    }
  }

  /** Tells the other side that bytes were taken: not each piece, and always before it would have to wait. */
  #acknowledge(bytes: number): void {
    this.#owed += bytes;
    if (this.#owed < this.#window / 4) return;
    this.#tell({ type: "ack", bytes: this.#owed });
    this.#owed = 0;
  }

  #tell(message: PortControl): void {
    if (this.#end === undefined) this.#socket.send(JSON.stringify(message));
  }

  #take(data: unknown): void {
    if (this.#end !== undefined) return;
    try {
      if (data instanceof ArrayBuffer) this.#takeBytes(new Uint8Array(data));
      else this.#takeSign(data);
    } catch (error) {
      this.#finish(error);
    }
  }

  #takeBytes(bytes: Uint8Array): void {
    if (this.#discards) return this.#acknowledge(bytes.length);
    this.#received.push(bytes);
    return this.#wake();
  }

  #takeSign(data: unknown): void {
    let sign: Record<string, unknown>;
    try {
      sign = JSON.parse(String(data)) as Record<string, unknown>;
    } catch {
      throw malformed();
    }
    if (sign.type === "error") throw errorFromWire(sign);
    if (sign.type === "connected") this.#took.resolve();
    else if (sign.type === "end") this.#ended = true;
    else if (sign.type === "ack" && typeof sign.bytes === "number") this.#sent -= sign.bytes;
    else throw malformed();
    this.#wake();
  }

  #finish(error: unknown): void {
    if (this.#end !== undefined) return;
    this.#end = { error };
    this.#took.reject(error);
    this.#socket.close(1000);
    this.#wake();
  }

  #wake(): void {
    const wake = [this.#wakeReader, this.#wakeWriter];
    this.#wakeReader = this.#wakeWriter = undefined;
    for (const one of wake) one?.();
  }
}
