import type { Process } from "@caisson/contract";
import { CaissonApiError } from "./api-error.ts";
import type { CallOptions } from "./call-options.ts";
import { CommandFailedError, CommandTimeoutError } from "./command-error.ts";
import type { CommandEvent, CommandExit } from "./command-event.ts";
import type { AttachOptions, KillOptions, RunOptions, SpawnOptions, StreamOptions } from "./command-options.ts";
import { ResultCollector, type CommandResult } from "./command-result.ts";
import { execBody, inlineStdin, type Command } from "./exec-body.ts";
import { feedInput } from "./feed-input.ts";
import { followOutput } from "./follow-output.ts";
import type { Content, HttpClient } from "./http-client.ts";
import { pause } from "./pause.ts";
import type { Processes } from "./processes.ts";

/** Bytes of each stream that a result holds unless told otherwise. */
const MAX_OUTPUT = 67_108_864;
/** Time for ending a process whose caller left, in ms. */
const ABANDON_MS = 10_000;
/** Time that an aborted call waits for the id of the process it began, in ms. */
const FIRST_RECORD_MS = 2_000;

/** Commands in one sandbox: `sandbox.commands`. */
export class Commands {
  readonly #http: HttpClient;
  readonly #processes: Processes;
  readonly #path: string;

  /** Made by `Sandbox`. */
  constructor(http: HttpClient, processes: Processes, sandboxId: string) {
    this.#http = http;
    this.#processes = processes;
    this.#path = `/sandboxes/${encodeURIComponent(sandboxId)}`;
  }

  /**
   * Runs a command to its end: a shell line, or a program with its arguments. A status other than 0 is a result, unless
   * `check` is set. When the call is aborted, the command and all it started are killed.
   *
   * ```ts
   * const { stdout, exitCode } = await sandbox.commands.run(["python3", "-c", "print(6 * 7)"]);
   * await sandbox.commands.run("ls -l; id", { cwd: "/tmp", timeout: "1m", onStdout: (text) => process.stdout.write(text) });
   * ```
   */
  async run(command: Command, options: RunOptions = {}): Promise<CommandResult> {
    const collector = new ResultCollector(options.maxOutput ?? MAX_OUTPUT);
    let exit: CommandExit | undefined;
    for await (const event of this.stream(command, options)) {
      collector.add(event);
      if (event.type === "exit") exit = event;
      else if (event.type === "output") await (event.stream === "stdout" ? options.onStdout : options.onStderr)?.(event.text);
    }
    if (exit === undefined) throw new CaissonApiError("protocol_error", "The command ended without a status.");
    const result = collector.finish(exit);
    if (exit.timedOut) throw new CommandTimeoutError(result);
    if (options.check === true && result.exitCode !== 0) throw new CommandFailedError(result);
    return result;
  }

  /**
   * Runs a command and yields what it says while it runs; the last event is `exit`. A connection that breaks is made again
   * without losing a byte. Leaving the loop early kills the command and all it started.
   *
   * ```ts
   * for await (const event of sandbox.commands.stream("for i in 1 2 3; do echo step $i; done")) {
   *   if (event.type === "output") process[event.stream].write(event.bytes);
   * }
   * ```
   */
  async *stream(command: Command, options: StreamOptions = {}): AsyncGenerator<CommandEvent, void, void> {
    options.signal?.throwIfAborted();
    const stdin = inlineStdin(options.stdin);
    const stop = new AbortController();
    let processId: number | undefined;
    // A process whose id is not known yet could not be killed: its first record is waited for a little.
    const abort = (): void => {
      const now = (): void => stop.abort(options.signal?.reason);
      if (processId !== undefined) now();
      else void pause(FIRST_RECORD_MS, stop.signal).then(now, now);
    };
    options.signal?.addEventListener("abort", abort, { once: true });
    const inner = { timeoutMs: options.timeoutMs, signal: stop.signal };
    const json = { ...execBody(command, options), ...(stdin ?? { stdin_open: true }), stream: true };
    const events = followOutput({
      open: async () => (await this.#http.stream({ ...inner, method: "POST", path: `${this.#path}/exec`, json })).body,
      resume: (id, from) => this.#processes.output(id, from, inner),
      from: { stdout: 0, stderr: 0 },
      signal: stop.signal,
    });
    let ended = false;
    let fed: Promise<void> = Promise.resolve();
    try {
      for await (const event of events) {
        if (event.type === "exit") ended = true;
        if (event.type === "start") {
          processId = event.processId;
          options.signal?.throwIfAborted();
          if (stdin === undefined && options.stdin !== undefined) fed = this.#feed(processId, options.stdin, stop);
        }
        yield event;
      }
    } finally {
      options.signal?.removeEventListener("abort", abort);
      if (!ended && processId !== undefined) await this.#abandon(processId);
      stop.abort();
      await fed;
    }
  }

  /**
   * Starts a command in the background and returns at once.
   *
   * ```ts
   * const server = await sandbox.commands.spawn("python3 -m http.server 8000");
   * ```
   */
  async spawn(command: Command, options: SpawnOptions = {}): Promise<Process> {
    const { stdin } = options;
    const open = typeof stdin === "object" && "open" in stdin;
    const input = open ? { stdin_open: true } : inlineStdin(stdin);
    const json = { ...execBody(command, options), ...(input ?? { stdin_open: true }), background: true };
    const process = await this.#http.json<Process>({ ...call(options), method: "POST", path: `${this.#path}/exec`, json });
    if (input === undefined) await this.write(process.process_id, stdin as string | Uint8Array, { ...call(options), close: true });
    return process;
  }

  /**
   * Processes of the sandbox, the ended ones that it still remembers among them.
   *
   * ```ts
   * for (const { process_id, command, running } of await sandbox.commands.list()) console.log(process_id, command, running);
   * ```
   */
  list(options: CallOptions = {}): Promise<readonly Process[]> {
    return this.#processes.list(options);
  }

  /**
   * One process; throws `process_not_found`.
   *
   * ```ts
   * const { process_id } = await sandbox.commands.spawn("sleep 60");
   * const { running, user } = await sandbox.commands.get(process_id);
   * ```
   */
  get(processId: number, options: CallOptions = {}): Promise<Process> {
    return this.#processes.get(processId, options);
  }

  /**
   * Follows a process that runs already, from byte offsets on, to its end. Leaving the loop early leaves the process alone.
   *
   * ```ts
   * const { process_id } = await sandbox.commands.spawn("echo hello; sleep 0.1");
   * for await (const event of sandbox.commands.attach(process_id, { from: { stdout: 2 } })) {
   *   if (event.type === "output") console.log(event.text); // llo
   * }
   * ```
   */
  attach(processId: number, options: AttachOptions = {}): AsyncGenerator<CommandEvent, void, void> {
    return this.#processes.attach(processId, options);
  }

  /**
   * Waits for a process to end, from wherever it is.
   *
   * ```ts
   * const { process_id } = await sandbox.commands.spawn("sleep 0.1; echo done");
   * const { stdout, exitCode } = await sandbox.commands.wait(process_id);
   * ```
   */
  async wait(processId: number, options: AttachOptions & Pick<RunOptions, "maxOutput"> = {}): Promise<CommandResult> {
    const collector = new ResultCollector(options.maxOutput ?? MAX_OUTPUT);
    for await (const event of this.attach(processId, options)) {
      collector.add(event);
      if (event.type === "exit") return collector.finish(event);
    }
    throw new CaissonApiError("protocol_error", "The process ended without a status.");
  }

  /**
   * Signals a process; by default it asks the whole tree to end.
   *
   * ```ts
   * const server = await sandbox.commands.spawn("python3 -m http.server 8000");
   * await sandbox.commands.kill(server.process_id, { signalName: "KILL" });
   * ```
   */
  async kill(processId: number, options: KillOptions = {}): Promise<void> {
    await this.#processes.kill(processId, options);
  }

  /**
   * Writes to the standard input of a process that was started with it open; `close` closes it afterwards.
   *
   * ```ts
   * const { process_id } = await sandbox.commands.spawn("wc -w", { stdin: { open: true } });
   * await sandbox.commands.write(process_id, "one two ");
   * await sandbox.commands.write(process_id, "three", { close: true });
   * const { stdout } = await sandbox.commands.wait(process_id); // 3
   * ```
   */
  async write(processId: number, content: Content, options: CallOptions & { readonly close?: boolean } = {}): Promise<void> {
    await this.#processes.writeStdin(processId, content, options);
  }

  /** Sends input beside the output; a command that ends or closes its input before it has read all is no failure. */
  async #feed(processId: number, content: Content, stop: AbortController): Promise<void> {
    try {
      const { signal } = stop;
      await feedInput(content, (bytes) => this.write(processId, bytes, { signal, timeoutMs: 0 }), signal);
      if (!signal.aborted) await this.write(processId, "", { signal, close: true });
    } catch (error) {
      // `conflict`: it has ended, or closed its input.
      const gone = error instanceof CaissonApiError && ["process_not_found", "state_conflict", "conflict"].includes(error.code);
      if (!gone && !stop.signal.aborted) stop.abort(error);
    }
  }

  async #abandon(processId: number): Promise<void> {
    // Whatever made the caller leave matters more than whether this works; the sandbox's deadline ends what is left.
    await this.kill(processId, { signalName: "KILL", timeoutMs: ABANDON_MS }).catch(() => undefined);
  }
}

/** The options that concern the request itself. */
function call(options: CallOptions): CallOptions {
  return { signal: options.signal, timeoutMs: options.timeoutMs };
}
