import type { ExecControl, ExecOpening } from "@caisson/contract";
import { CaissonApiError } from "./api-error.ts";
import type { CommandExit } from "./command-event.ts";
import type { ExecConnection, ExecMessage } from "./exec-connection.ts";
import { pause } from "./pause.ts";
import type { TerminalSize } from "./processes.ts";
import type { TerminalEvent, TerminalOptions } from "./terminal-options.ts";

/** Bytes of output in one window, unless told otherwise. */
export const WINDOW = 262_144;
/** Longest time without a connection, in ms, unless told otherwise. */
const RECONNECT_MS = 60_000;
/** First and longest pause between two attempts to connect, in ms. */
const FIRST_PAUSE_MS = 100;
const LAST_PAUSE_MS = 1_000;
/** How often a full connection is looked at, in ms: a WebSocket does not tell when it has room. */
const ROOM_MS = 20;
/** Largest message that the server takes, in bytes, with room to spare. */
const MAX_WRITE = 262_144;

/** Opens one connection of a terminal. */
export type Connect = (opening: ExecOpening) => Promise<ExecConnection>;

/**
 * A process in a terminal, made by `sandbox.pty`. Its output comes by `onData`, or by iterating it, once; taking it gives the
 * process room to write more. A connection that breaks is made again and goes on at the byte reached. The process ends by
 * itself or by `kill`, never because nobody is connected.
 *
 * ```ts
 * const terminal = await sandbox.pty.create({ cols: 80, rows: 24 });
 * await terminal.write("echo $((6 * 7)); exit\n");
 * for await (const bytes of terminal) console.log(new TextDecoder().decode(bytes));
 * console.log((await terminal.wait()).exitCode);
 * ```
 */
export class Terminal implements AsyncIterable<Uint8Array>, Disposable {
  /** Id of the process in its sandbox; `pty.connect` takes it. */
  readonly processId: number;
  /** Process id inside the sandbox. */
  readonly pid: number;
  readonly #connect: Connect;
  readonly #options: TerminalOptions;
  readonly #window: number;
  readonly #stop = new AbortController();
  readonly #ended = Promise.withResolvers<CommandExit>();
  #connection: ExecConnection | undefined;
  #reconnection: Promise<void> | undefined;
  #offset: number;
  #size: TerminalSize | undefined;
  #reading = false;
  #exit: CommandExit | undefined;
  #failure: unknown;
  /** Bytes that were taken from this connection and not acknowledged. */
  #owed = 0;

  /** Made by `sandbox.pty`; `connection` has said `started`. */
  constructor(connect: Connect, connection: ExecConnection, started: ExecMessage & { type: "started" }, options: TerminalOptions) {
    this.#connect = connect;
    this.#connection = connection;
    this.#options = options;
    this.#window = options.window ?? WINDOW;
    this.processId = started.processId;
    this.pid = started.pid;
    this.#offset = started.stdoutOffset;
    // Whoever waits learns how it ended; nobody need wait.
    this.#ended.promise.catch(() => undefined);
    options.signal?.addEventListener("abort", () => this.disconnect(), { once: true });
    if (options.signal?.aborted) this.disconnect();
    this.#tell({ type: "connected" });
    if (options.onData !== undefined) void this.#pump(options.onData);
  }

  /** Offset of the next byte of output: `pty.connect` goes on there. */
  get offset(): number {
    return this.#offset;
  }

  /** How the process ended; undefined while it runs. */
  get exit(): CommandExit | undefined {
    return this.#exit;
  }

  /**
   * Types into the terminal; resolves when it was handed over. What is on its way when a connection breaks may be lost; it
   * is never sent twice. Without a connection it waits for the next.
   *
   * ```ts
   * using terminal = await sandbox.pty.create({ cols: 80, rows: 24, command: "cat" });
   * await terminal.write("hello\n");
   * await terminal.kill();
   * ```
   */
  async write(data: string | Uint8Array): Promise<void> {
    const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
    for (let at = 0; at < bytes.length; at += MAX_WRITE) {
      const connection = await this.#connected();
      connection.write(bytes.subarray(at, at + MAX_WRITE));
      while (connection.open && !connection.roomy) await pause(ROOM_MS, this.#stop.signal);
    }
  }

  /**
   * Sets the size of the terminal; the process is told.
   *
   * ```ts
   * using terminal = await sandbox.pty.create({ cols: 80, rows: 24 });
   * terminal.resize({ cols: 120, rows: 40 });
   * await terminal.kill();
   * ```
   */
  resize(size: TerminalSize): void {
    this.#size = { cols: size.cols, rows: size.rows };
    this.#control({ type: "resize", ...this.#size });
  }

  /**
   * Signals the process and all it started. KILL ends them for certain. HUP is what a terminal says when it closes, and lets a
   * shell write its history; but bash may miss it in the moment in which it goes back to its prompt, and takes no TERM at all.
   *
   * ```ts
   * using terminal = await sandbox.pty.create({ cols: 80, rows: 24 });
   * await terminal.kill("HUP");
   * ```
   */
  async kill(signalName: string = "KILL"): Promise<void> {
    if (this.#exit !== undefined) return;
    (await this.#connected()).send({ type: "signal", signal: signalName });
  }

  /**
   * Waits until the process has ended. When nobody takes the output, it is thrown away meanwhile. Throws `cancelled` after
   * `disconnect`, and what made the connection be given up.
   *
   * ```ts
   * const terminal = await sandbox.pty.create({ cols: 80, rows: 24, command: "exit 3" });
   * console.log((await terminal.wait()).exitCode);
   * ```
   */
  async wait(): Promise<CommandExit> {
    if (!this.#reading && this.#exit === undefined) void this.#pump(() => undefined);
    return this.#ended.promise;
  }

  /**
   * Leaves the process to itself; `pty.connect` comes back to it.
   *
   * ```ts
   * const terminal = await sandbox.pty.create({ cols: 80, rows: 24 });
   * terminal.disconnect();
   * const again = await sandbox.pty.connect(terminal.processId, { from: terminal.offset });
   * await again.kill();
   * ```
   */
  disconnect(): void {
    if (this.#stop.signal.aborted) return;
    const error = new CaissonApiError("cancelled", "The terminal was disconnected; its process goes on.");
    this.#stop.abort(error);
    this.#connection?.close();
    this.#ended.reject(error);
  }

  /** Disconnects at the end of the scope that holds it with `using`. */
  [Symbol.dispose](): void {
    this.disconnect();
  }

  /** Output to its end, or to `disconnect`; once. Throws what made the connection be given up. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, void> {
    if (this.#reading) throw new CaissonApiError("conflict", "The output of this terminal is taken already.");
    this.#reading = true;
    try {
      for (;;) {
        const output = await this.#next();
        if (output === undefined) return;
        if (output.stream === "stdout") yield output.bytes;
        // What the server counts is what went over this connection.
        if (output.connection === this.#connection) this.#acknowledge(output.bytes.length);
      }
    } catch (error) {
      if (!this.#stop.signal.aborted) throw error;
    }
  }

  async #pump(onData: (bytes: Uint8Array) => void | Promise<void>): Promise<void> {
    try {
      for await (const bytes of this) await onData(bytes);
    } catch (error) {
      // `wait` tells it.
      this.#ended.reject(error as Error);
    }
  }

  /** The next output, across connections; undefined after the exit. */
  async #next(): Promise<((ExecMessage & { readonly type: "output" }) & { readonly connection: ExecConnection }) | undefined> {
    for (;;) {
      if (this.#exit !== undefined) return undefined;
      const connection = this.#connection ?? (await this.#connected());
      let message: ExecMessage | undefined;
      try {
        message = await connection.next();
        if (message === undefined) throw new CaissonApiError("server_unreachable", "The connection ended before the process.");
      } catch (error) {
        if (this.#stop.signal.aborted) throw error;
        this.#lose(connection, error);
        await this.#connected();
        continue;
      }
      if (message.type === "exit") {
        this.#exit = message;
        this.#ended.resolve(message);
        return undefined;
      }
      if (message.type === "gap") {
        if (message.stream !== "stdout") continue;
        this.#offset = message.to;
        this.#tell({ type: "gap", from: message.from, to: message.to });
      } else if (message.type === "output") {
        if (message.stream === "stdout") this.#offset += message.bytes.length;
        return { ...message, connection };
      } else if (message.type === "stdin_closed") this.#tell(message);
    }
  }

  /** Tells the server that output was taken, in steps: it has the window to go on meanwhile. */
  #acknowledge(bytes: number): void {
    this.#owed += bytes;
    if (this.#owed < this.#window / 4) return;
    this.#connection?.send({ type: "ack", bytes: this.#owed });
    this.#owed = 0;
  }

  #control(message: ExecControl): void {
    this.#connection?.send(message);
  }

  /** A connection that is there, once one is made. */
  async #connected(): Promise<ExecConnection> {
    for (;;) {
      this.#stop.signal.throwIfAborted();
      if (this.#exit !== undefined) throw new CaissonApiError("process_not_found", "The process of the terminal has ended.");
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#connection?.open) return this.#connection;
      if (this.#connection !== undefined && this.#reconnection === undefined) {
        // What came before the break is read first; the reader notices the break behind it.
        if (this.#reading && this.#connection.waiting > 0) await pause(ROOM_MS, this.#stop.signal);
        else this.#lose(this.#connection, undefined);
        continue;
      }
      await this.#reconnection;
    }
  }

  #lose(connection: ExecConnection, error: unknown): void {
    if (connection !== this.#connection) return;
    connection.close();
    this.#connection = undefined;
    this.#reconnection = this.#reconnect(error)
      .catch((failure: unknown) => {
        this.#failure = failure;
        this.#ended.reject(failure as Error);
      })
      .finally(() => {
        this.#reconnection = undefined;
      });
  }

  async #reconnect(broke: unknown): Promise<void> {
    const since = performance.now();
    const limit = this.#options.reconnectMs ?? RECONNECT_MS;
    let error = broke;
    for (let wait = FIRST_PAUSE_MS; ; wait = Math.min(LAST_PAUSE_MS, wait * 2)) {
      if (error instanceof CaissonApiError && !error.retryable) throw error;
      if (performance.now() - since > limit) throw error;
      const why =
        error instanceof CaissonApiError ? error : new CaissonApiError("server_unreachable", "The connection broke.", { cause: error });
      this.#tell({ type: "reconnecting", error: why });
      await pause(wait, this.#stop.signal);
      try {
        const opening: ExecOpening = { type: "attach", process_id: this.processId, stdout_offset: this.#offset, window: this.#window };
        const connection = await this.#connect(opening);
        this.#owed = 0;
        const started = await connection.started();
        this.#offset = started.stdoutOffset;
        this.#connection = connection;
        if (this.#size !== undefined) this.#control({ type: "resize", ...this.#size });
        this.#tell({ type: "connected" });
        return;
      } catch (failed) {
        this.#stop.signal.throwIfAborted();
        error = failed;
      }
    }
  }

  #tell(event: TerminalEvent): void {
    this.#options.onEvent?.(event);
  }
}
