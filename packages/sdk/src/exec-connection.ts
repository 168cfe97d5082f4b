import { EXEC_PROTOCOL, type ExecControl, type ExecOpening, type Token } from "@caisson/contract";
import { CaissonApiError, errorFromWire } from "./api-error.ts";
import type { CommandExit, OutputStream } from "./command-event.ts";
import { toEvent } from "./exec-record.ts";
import type { HttpClient } from "./http-client.ts";
import { broken, closedBy, malformed, openSocket, OPENING_MS } from "./web-socket.ts";

/** What the other side of a connection says. */
export type ExecMessage =
  | { readonly type: "started"; readonly processId: number; readonly pid: number; readonly pty: boolean; readonly stdoutOffset: number }
  | { readonly type: "output"; readonly stream: OutputStream; readonly bytes: Uint8Array }
  | { readonly type: "gap"; readonly stream: OutputStream; readonly from: number; readonly to: number }
  | { readonly type: "stdin_closed"; readonly message: string }
  | ({ readonly type: "exit" } & CommandExit);

/** How often the other side is asked whether it is there, in ms. A link that died says nothing by itself. */
const PING_MS = 15_000;

/** Silence after which a connection counts as broken, in ms. */
const SILENCE_MS = 40_000;

/** Bytes that may wait to be sent before a writer waits. */
const SEND_AHEAD = 262_144;

/** One WebSocket to one process. What comes is kept until it is asked for; the window that was agreed upon bounds it. */
export class ExecConnection {
  readonly #socket: WebSocket;
  readonly #messages: ExecMessage[] = [];
  readonly #timer: ReturnType<typeof setInterval>;
  #wake: (() => void) | undefined;
  #end: { readonly error: CaissonApiError | undefined } | undefined;
  #heard = performance.now();

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.addEventListener("message", ({ data }) => this.#take(data));
    socket.addEventListener("close", ({ code, reason }) => this.#finish(code === 1000 ? undefined : closedBy(code, reason)));
    this.#timer = setInterval(() => {
      if (performance.now() - this.#heard > SILENCE_MS) this.#finish(broken("The server was silent for too long."));
      else this.send({ type: "ping" });
    }, PING_MS);
  }

  /** Connects, with a token that is asked for unless the client has one, and says what it wants. */
  static async open(http: HttpClient, sandboxId: string, opening: ExecOpening, signal: AbortSignal | undefined): Promise<ExecConnection> {
    const path = `/sandboxes/${encodeURIComponent(sandboxId)}`;
    const token = async (): Promise<string> =>
      (await http.json<Token>({ method: "POST", path: `${path}/tokens`, json: { action: "exec" }, signal, timeoutMs: OPENING_MS })).token;
    const attach = (socket: WebSocket): ExecConnection => new ExecConnection(socket);
    const connection = await openSocket(http, { path: `${path}/exec/ws`, protocol: EXEC_PROTOCOL, token, attach, signal });
    connection.#socket.send(JSON.stringify(opening));
    return connection;
  }

  /** Whether it can be sent to. */
  get open(): boolean {
    return this.#end === undefined && this.#socket.readyState === WebSocket.OPEN;
  }

  /** Bytes of output that came and were not asked for. */
  get waiting(): number {
    return this.#messages.reduce((sum, message) => sum + (message.type === "output" ? message.bytes.length : 0), 0);
  }

  /** The message that every conversation begins with. Closes the connection when it does not come. */
  async started(): Promise<ExecMessage & { readonly type: "started" }> {
    try {
      const first = await this.next();
      if (first?.type === "started") return first;
      throw new CaissonApiError("protocol_error", "The server did not begin with `started`.");
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** The next message; undefined when the other side ended in order. Throws when it ended otherwise. */
  async next(): Promise<ExecMessage | undefined> {
    for (;;) {
      const message = this.#messages.shift();
      if (message !== undefined) return message;
      if (this.#end?.error !== undefined) throw this.#end.error;
      if (this.#end !== undefined) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Sends a text message; nothing when the connection has ended. */
  send(message: ExecControl): void {
    if (this.open) this.#socket.send(JSON.stringify(message));
  }

  /** Sends input; ask `roomy` before sending more. */
  write(bytes: Uint8Array): void {
    this.#socket.send(bytes as Uint8Array<ArrayBuffer>);
  }

  /** Whether there is room to send more. */
  get roomy(): boolean {
    return this.#socket.bufferedAmount < SEND_AHEAD;
  }

  /** Ends it from this side. */
  close(): void {
    this.#finish(undefined);
  }

  #take(data: unknown): void {
    if (this.#end !== undefined) return;
    this.#heard = performance.now();
    try {
      const message = data instanceof ArrayBuffer ? toOutput(new Uint8Array(data)) : toMessage(data);
      if (message !== undefined) this.#messages.push(message);
      if (message?.type === "exit") this.#finish(undefined);
      else this.#wakeUp();
    } catch (error) {
      this.#finish(error as CaissonApiError);
    }
  }

  #finish(error: CaissonApiError | undefined): void {
    if (this.#end !== undefined) return;
    this.#end = { error };
    clearInterval(this.#timer);
    this.#socket.close(1000);
    this.#wakeUp();
  }

  #wakeUp(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}

function toOutput(data: Uint8Array): ExecMessage {
  const stream = data[0] === 1 ? "stdout" : data[0] === 2 ? "stderr" : undefined;
  if (stream === undefined) throw malformed();
  return { type: "output", stream, bytes: data.subarray(1) };
}

/** A text message; undefined for kinds that this version does not know. Throws what an `error` says. */
function toMessage(data: unknown): ExecMessage | undefined {
  let record: Record<string, unknown>;
  try {
    record = JSON.parse(String(data)) as Record<string, unknown>;
  } catch {
    throw malformed();
  }
  switch (record.type) {
    case "started": {
      const { process_id: processId, pid, pty, stdout_offset: stdoutOffset } = record;
      if (typeof processId !== "number" || typeof pid !== "number" || typeof stdoutOffset !== "number") throw malformed();
      return { type: "started", processId, pid, pty: pty === true, stdoutOffset };
    }
    case "stdin_closed":
      return { type: "stdin_closed", message: String(record.message) };
    case "error":
      throw errorFromWire(record);
    case "gap":
    case "exit": {
      const event = toEvent(record);
      return event?.type === "gap" || event?.type === "exit" ? event : undefined;
    }
    default:
      return undefined;
  }
}
