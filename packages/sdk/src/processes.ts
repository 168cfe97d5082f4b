import type { Process } from "@caisson/contract";
import type { CallOptions } from "./call-options.ts";
import type { CommandEvent } from "./command-event.ts";
import type { AttachOptions, KillOptions } from "./command-options.ts";
import { followOutput, type OutputOffsets } from "./follow-output.ts";
import type { Content, HttpClient } from "./http-client.ts";

/** Time that one request waits for a process, in s; the next one goes on. */
const WAIT_S = 30;

/** What a wait's request may take beyond that, in ms. */
const WAIT_MARGIN_MS = 30_000;

/** Size of a terminal, in characters. */
export interface TerminalSize {
  readonly cols: number;
  readonly rows: number;
}

/**
 * Processes of one sandbox, however they were started: `sandbox.processes`.
 *
 * ```ts
 * const { process_id } = await sandbox.commands.spawn("sleep 0.1; echo done");
 * const ended = await sandbox.processes.wait(process_id);
 * console.log(ended.exit?.exit_code);
 * ```
 */
export class Processes {
  readonly #http: HttpClient;
  readonly #path: string;

  /** Made by `Sandbox`. */
  constructor(http: HttpClient, sandboxId: string) {
    this.#http = http;
    this.#path = `/sandboxes/${encodeURIComponent(sandboxId)}/processes`;
  }

  /**
   * Those that run, and the last 256 that ended; with `tag`, only those that were started with it.
   *
   * ```ts
   * await sandbox.commands.spawn("sleep 60", { tag: "server" });
   * const [server] = await sandbox.processes.list({ tag: "server" });
   * if (server !== undefined) await sandbox.processes.kill(server.process_id);
   * ```
   */
  async list(options: CallOptions & { readonly tag?: string | undefined } = {}): Promise<readonly Process[]> {
    const query = { tag: options.tag };
    return (await this.#http.json<{ items: Process[] }>({ ...call(options), method: "GET", path: this.#path, query })).items;
  }

  /**
   * One process; throws `process_not_found`.
   *
   * ```ts
   * const { process_id } = await sandbox.commands.spawn("true");
   * console.log((await sandbox.processes.get(process_id)).running);
   * ```
   */
  async get(processId: number, options: CallOptions = {}): Promise<Process> {
    return this.#http.json({ ...call(options), method: "GET", path: `${this.#path}/${processId}` });
  }

  /**
   * Follows a process from byte offsets on, to its end; a connection that breaks is made again without losing a byte. Leaving
   * the loop early leaves the process alone. Any number may follow one process.
   *
   * ```ts
   * const { process_id } = await sandbox.commands.spawn("echo one; echo two");
   * await sandbox.processes.wait(process_id);
   * for await (const event of sandbox.processes.attach(process_id, { from: { stdout: 4 } }))
   *   if (event.type === "output") console.log(event.text);
   * ```
   */
  attach(processId: number, options: AttachOptions = {}): AsyncGenerator<CommandEvent, void, void> {
    const from = options.from ?? {};
    return followOutput({
      open: () => this.output(processId, from, options),
      resume: (_id, next) => this.output(processId, next, options),
      from,
      signal: options.signal,
    });
  }

  /**
   * Waits until a process has ended, for as long as that takes, and returns it. It reads no output.
   *
   * ```ts
   * const { process_id } = await sandbox.commands.spawn("exit 3");
   * const { exit } = await sandbox.processes.wait(process_id);
   * ```
   */
  async wait(processId: number, options: { readonly signal?: AbortSignal | undefined } = {}): Promise<Process> {
    const { signal } = options;
    for (;;) {
      const found = await this.#http.json<Process>({
        signal,
        timeoutMs: WAIT_S * 1000 + WAIT_MARGIN_MS,
        method: "GET",
        path: `${this.#path}/${processId}/wait`,
        query: { timeout: `${WAIT_S}s` },
      });
      if (!found.running) return found;
    }
  }

  /**
   * Signals a process; by default it asks the whole tree to end. Returns how many processes got it: 0 when all have ended.
   *
   * ```ts
   * const { process_id } = await sandbox.commands.spawn("sleep 60");
   * await sandbox.processes.kill(process_id, { signalName: "KILL" });
   * ```
   */
  async kill(processId: number, options: KillOptions = {}): Promise<number> {
    const json = {
      ...(options.signalName === undefined ? {} : { signal: options.signalName }),
      ...(options.scope === undefined ? {} : { scope: options.scope }),
    };
    const path = `${this.#path}/${processId}/signal`;
    return (await this.#http.json<{ signalled: number }>({ ...call(options), method: "POST", path, json })).signalled;
  }

  /**
   * Writes to the standard input of a process that was started with it open; `close` closes it afterwards. Takes as long as
   * the process takes to make room.
   *
   * ```ts
   * const { process_id } = await sandbox.commands.spawn("cat", { stdin: { open: true } });
   * await sandbox.processes.writeStdin(process_id, "hello");
   * await sandbox.processes.closeStdin(process_id);
   * ```
   */
  async writeStdin(
    processId: number,
    content: Content,
    options: CallOptions & { readonly close?: boolean | undefined } = {},
  ): Promise<void> {
    await this.#http.json({
      ...call(options),
      method: "POST",
      path: `${this.#path}/${processId}/stdin`,
      query: { close: options.close === true ? true : undefined },
      content,
    });
  }

  /**
   * Closes the standard input of a process; in a terminal this types Ctrl-D.
   *
   * ```ts
   * const { process_id } = await sandbox.commands.spawn("cat", { stdin: { open: true } });
   * await sandbox.processes.closeStdin(process_id);
   * ```
   */
  async closeStdin(processId: number, options: CallOptions = {}): Promise<void> {
    await this.writeStdin(processId, "", { ...options, close: true });
  }

  /**
   * Sets the size of a process's terminal; the process is told by `WINCH`.
   *
   * ```ts
   * const terminal = await sandbox.pty.create({ cols: 80, rows: 24, command: "sleep 5" });
   * await sandbox.processes.resize(terminal.processId, { cols: 120, rows: 40 });
   * await terminal.kill();
   * ```
   */
  async resize(processId: number, size: TerminalSize, options: CallOptions = {}): Promise<void> {
    const json = { cols: size.cols, rows: size.rows };
    await this.#http.json({ ...call(options), method: "POST", path: `${this.#path}/${processId}/resize`, json });
  }

  /**
   * The records of a process's output from offsets on, as lines of JSON; `attach` reads them.
   *
   * ```ts
   * const { process_id } = await sandbox.commands.spawn("echo hello");
   * for await (const bytes of await sandbox.processes.output(process_id, { stdout: 0 })) console.log(new TextDecoder().decode(bytes));
   * ```
   */
  async output(processId: number, from: OutputOffsets = {}, options: CallOptions = {}): Promise<AsyncIterable<Uint8Array>> {
    const query = { stdout_offset: from.stdout, stderr_offset: from.stderr };
    return (await this.#http.stream({ ...call(options), method: "GET", path: `${this.#path}/${processId}/output`, query })).body;
  }
}

/** The options that concern the request itself. */
function call(options: CallOptions): CallOptions {
  return { signal: options.signal, timeoutMs: options.timeoutMs };
}
