import type { ExecOpening, Process } from "@caisson/contract";
import type { CallOptions } from "./call-options.ts";
import { execBody, type Command } from "./exec-body.ts";
import { ExecConnection } from "./exec-connection.ts";
import type { HttpClient } from "./http-client.ts";
import type { Processes } from "./processes.ts";
import { Terminal, WINDOW, type Connect } from "./terminal.ts";
import type { ConnectTerminal, CreateTerminal, TerminalOptions } from "./terminal-options.ts";

/** The shell of a terminal that asks for no other. */
const SHELL: Command = 'export LANG="${LANG:-C.UTF-8}"; if command -v bash >/dev/null 2>&1; then exec bash; else exec sh; fi';

/**
 * Bytes of output that a terminal keeps unless told otherwise. What is ahead of the reader must be drawn before what Ctrl-C
 * leaves behind is seen, so it is little.
 */
const OUTPUT_LIMIT = 1_048_576;

/** Kind of terminal that is told to programs unless `env` has another. */
const TERM = "xterm-256color";

/**
 * Processes in terminals, for people and for programs that want one: `sandbox.pty`. Works in Node, Bun and browsers.
 *
 * ```ts
 * const terminal = await sandbox.pty.create({ cols: 80, rows: 24, onData: (bytes) => void process.stdout.write(bytes) });
 * await terminal.write("tty; exit\n");
 * await terminal.wait();
 * ```
 */
export class Pty {
  readonly #http: HttpClient;
  readonly #processes: Processes;
  readonly #sandboxId: string;

  /** Made by `Sandbox`. */
  constructor(http: HttpClient, processes: Processes, sandboxId: string) {
    this.#http = http;
    this.#processes = processes;
    this.#sandboxId = sandboxId;
  }

  /**
   * Starts a process in a new terminal: a shell, unless `command` says otherwise.
   *
   * ```ts
   * using top = await sandbox.pty.create({ cols: 100, rows: 30, command: ["top", "-b", "-n", "1"], tag: "top" });
   * console.log((await top.wait()).exitCode);
   * ```
   */
  async create(options: CreateTerminal): Promise<Terminal> {
    const { cols, rows, command = SHELL, killOnDisconnect } = options;
    const env = { TERM, ...options.env };
    const fields = execBody(command, { ...options, env, outputLimit: options.outputLimit ?? OUTPUT_LIMIT });
    const kill = killOnDisconnect === undefined ? {} : { kill_on_disconnect: killOnDisconnect };
    return this.#open({ type: "start", ...fields, ...kill, pty: { cols, rows } }, options);
  }

  /**
   * Comes back to a terminal, from a byte of its output on. Any number may be connected to one.
   *
   * ```ts
   * const first = await sandbox.pty.create({ cols: 80, rows: 24 });
   * first.disconnect();
   * using again = await sandbox.pty.connect(first.processId, { size: { cols: 120, rows: 40 } });
   * await again.kill();
   * ```
   */
  async connect(processId: number, options: ConnectTerminal = {}): Promise<Terminal> {
    const from = options.from === undefined ? {} : { stdout_offset: options.from };
    const terminal = await this.#open({ type: "attach", process_id: processId, ...from }, options);
    if (options.size !== undefined) terminal.resize(options.size);
    return terminal;
  }

  /**
   * Terminals of the sandbox that still run; with `tag`, only those that were started with it.
   *
   * ```ts
   * using terminal = await sandbox.pty.create({ cols: 80, rows: 24, tag: "mine" });
   * const [found] = await sandbox.pty.list({ tag: "mine" });
   * await terminal.kill();
   * ```
   */
  async list(options: CallOptions & { readonly tag?: string | undefined } = {}): Promise<readonly Process[]> {
    return (await this.#processes.list(options)).filter((process) => process.pty && process.running);
  }

  async #open(opening: ExecOpening, options: TerminalOptions): Promise<Terminal> {
    const connect: Connect = (next) => ExecConnection.open(this.#http, this.#sandboxId, next, options.signal);
    const connection = await connect({ ...opening, window: options.window ?? WINDOW });
    return new Terminal(connect, connection, await connection.started(), options);
  }
}
