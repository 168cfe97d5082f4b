import { EXEC_PROTOCOL, type ExecSign } from "@caisson/contract";
import { WebSocket } from "ws";
import { API_KEY } from "./test-server.ts";

/** A client of the exec socket that does no more than it is told. */
export class ExecPeer implements Disposable {
  readonly socket: WebSocket;
  /** Text messages that nobody asked for yet. */
  readonly #signs: ExecSign[] = [];
  readonly output: Record<"stdout" | "stderr", Buffer> = { stdout: Buffer.alloc(0), stderr: Buffer.alloc(0) };
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>;
  /** Bytes of every binary message, in order. */
  readonly pieces: number[] = [];
  #notify: (() => void)[] = [];

  constructor(url: string, sandboxId: string, options: { readonly query?: string; readonly headers?: Record<string, string> } = {}) {
    const { query = "", headers = { "x-api-key": API_KEY } } = options;
    const address = `${url.replace("http", "ws")}/api/v1/sandboxes/${sandboxId}/exec/ws${query}`;
    this.socket = new WebSocket(address, [EXEC_PROTOCOL], { headers });
    this.socket.on("error", () => undefined);
    this.socket.on("message", (data: Buffer, isBinary) => {
      if (!isBinary) this.#signs.push(JSON.parse(data.toString()) as ExecSign);
      else {
        const name = data[0] === 1 ? "stdout" : "stderr";
        this.output[name] = Buffer.concat([this.output[name], data.subarray(1)]);
        this.pieces.push(data.length - 1);
      }
      this.#changed();
    });
    this.closed = new Promise((resolve) => {
      this.socket.once("close", (code, reason) => {
        resolve({ code, reason: reason.toString() });
        this.#changed();
      });
    });
  }

  /** Resolves when the switch to WebSocket was made; rejects with the status when it was refused. */
  opened(): Promise<this> {
    return new Promise((resolve, reject) => {
      if (this.socket.readyState === WebSocket.OPEN) resolve(this);
      this.socket.once("open", () => resolve(this));
      this.socket.once("error", reject);
    });
  }

  /** Sends a text message; what is no string as JSON. */
  tell(message: object | string): void {
    this.socket.send(typeof message === "string" ? message : JSON.stringify(message));
  }

  /** The next text message of a kind; others before it are passed over. */
  async sign<T extends ExecSign["type"]>(type: T): Promise<ExecSign & { readonly type: T }> {
    for (;;) {
      for (let sign = this.#signs.shift(); sign !== undefined; sign = this.#signs.shift())
        if (sign.type === type) return sign as ExecSign & { readonly type: T };
      if (this.socket.readyState === WebSocket.CLOSED) throw new Error(`closed without ${type}`);
      await this.#change();
    }
  }

  /** Resolves when what was written to a stream fits. */
  async until(stream: "stdout" | "stderr", fits: (text: string) => boolean): Promise<string> {
    for (;;) {
      const text = this.output[stream].toString();
      if (fits(text)) return text;
      if (this.socket.readyState === WebSocket.CLOSED) throw new Error(`closed with ${JSON.stringify(text.slice(-500))}`);
      await this.#change();
    }
  }

  [Symbol.dispose](): void {
    this.socket.terminate();
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#notify.push(resolve);
    });
  }

  #changed(): void {
    const waiting = this.#notify;
    this.#notify = [];
    for (const wake of waiting) wake();
  }
}
