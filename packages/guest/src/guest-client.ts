import type { Duplex } from "node:stream";
import {
  CaissonError,
  isCaissonError,
  STREAM_INPUT,
  systemClock,
  type Channel,
  type ChannelOpener,
  type Clock,
  type GuestMethod,
} from "@caisson/contract";
import { Answer, type Wire } from "./answer.ts";
import { DialStream } from "./dial-stream.ts";
import type { AttachedProcess, FileCallOptions, FileEntry, Guest, GuestCallOptions, GuestStats, ProcessSpec, Session } from "./guest.ts";
import { ProcessStream } from "./process-stream.ts";
import { readEntry, readSession, readStats } from "./read-answer.ts";
import { upload } from "./upload.ts";

/** Time to wait for the first answer, in ms, unless the caller says otherwise. */
const DEFAULT_DEADLINE_MS = 30_000;

/** The guest agent of one sandbox over any channel opener. */
export class GuestClient implements Guest {
  readonly #opener: ChannelOpener;
  readonly #clock: Clock;

  constructor(opener: ChannelOpener, clock: Clock = systemClock) {
    this.#opener = opener;
    this.#clock = clock;
  }

  async exec(spec: ProcessSpec & { readonly killOnDisconnect?: boolean }, options: GuestCallOptions = {}): Promise<AttachedProcess> {
    const params = { ...processParams(spec), kill_on_disconnect: spec.killOnDisconnect };
    const input = spec.stdin === true || spec.pty !== undefined ? {} : ({ noInput: true } as const);
    const channel = this.#opener.open("ExecCommand", params, { ...callOptions(options), ...input });
    const answer = await answered(channel, "ExecCommand");
    const start = checked(channel, () => identity(answer));
    return new ProcessStream(channel, { ...start, stdoutOffset: 0, stderrOffset: 0, ends: "with exit" });
  }

  async spawn(spec: ProcessSpec, options: GuestCallOptions = {}): Promise<{ readonly id: number; readonly pid: number }> {
    return identity(await this.#call("SpawnSession", processParams(spec), options));
  }

  async attach(
    id: number,
    from: { readonly stdoutOffset?: number; readonly stderrOffset?: number; readonly follow?: boolean } = {},
    options: GuestCallOptions = {},
  ): Promise<AttachedProcess> {
    const { stdoutOffset = 0, stderrOffset = 0, follow } = from;
    const params = { id, stdout_offset: stdoutOffset, stderr_offset: stderrOffset, follow };
    const channel = this.#opener.open("StreamOutput", params, { ...callOptions(options), noInput: true });
    const answer = await answered(channel, "StreamOutput");
    const start = checked(channel, () => identity(answer));
    return new ProcessStream(channel, { ...start, stdoutOffset, stderrOffset, ends: follow === false ? "any time" : "with exit" });
  }

  async kill(
    id: number,
    how: { readonly signal?: string; readonly scope?: "leader" | "group" | "tree" } = {},
    options: GuestCallOptions = {},
  ): Promise<number> {
    return (await this.#call("KillSession", { id, signal: how.signal, scope: how.scope }, options)).int("signalled");
  }

  async writeInput(id: number, input: AsyncIterable<Uint8Array>, options: GuestCallOptions = {}): Promise<number> {
    const channel = this.#opener.open("WriteInput", { id }, signalOnly(options));
    const limits = { clock: this.#clock, answerMs: options.deadlineMs ?? DEFAULT_DEADLINE_MS };
    const answer = await mapped(upload(channel, input, limits));
    return checked(channel, () => new Answer(answer, "WriteInput").int("written"));
  }

  async closeInput(id: number, options: GuestCallOptions = {}): Promise<void> {
    await this.#call("CloseInput", { id }, options);
  }

  async resize(id: number, cols: number, rows: number, options: GuestCallOptions = {}): Promise<void> {
    await this.#call("ResizeTerminal", { id, cols, rows }, options);
  }

  async sessions(options: GuestCallOptions = {}): Promise<readonly Session[]> {
    return (await this.#call("ListSessions", {}, options)).maps("sessions").map(readSession);
  }

  async session(id: number, options: GuestCallOptions = {}): Promise<Session> {
    const [found, ...more] = (await this.#call("ListSessions", { id }, options)).maps("sessions").map(readSession);
    if (found === undefined) throw new CaissonError("process_not_found", `The sandbox has no process ${id}.`);
    if (more.length > 0 || found.id !== id) throw broken("another process than the one asked for");
    return found;
  }

  async readFile(
    path: string,
    options: FileCallOptions & { readonly offset?: number; readonly length?: number } = {},
  ): Promise<{ readonly entry: FileEntry; readonly content: AsyncIterable<Uint8Array> }> {
    const { offset, length, user } = options;
    const channel = this.#opener.open("ReadFile", { path, offset, length, user }, { ...callOptions(options), noInput: true });
    const answer = await answered(channel, "ReadFile");
    return { entry: checked(channel, () => readEntry(answer.map("entry"))), content: fileBytes(channel, length) };
  }

  async writeFile(
    path: string,
    content: AsyncIterable<Uint8Array>,
    options: FileCallOptions & {
      readonly mode?: number;
      readonly offset?: number;
      readonly append?: boolean;
      readonly atomic?: boolean;
      readonly createParents?: boolean;
    } = {},
  ): Promise<FileEntry> {
    const { mode, offset, append, atomic, createParents, user } = options;
    const params = { path, mode, offset, append, atomic, create_parents: createParents, user };
    const channel = this.#opener.open("WriteFile", params, signalOnly(options));
    const ms = options.deadlineMs ?? DEFAULT_DEADLINE_MS;
    const answer = await mapped(upload(channel, content, { clock: this.#clock, answerMs: ms, stallMs: ms }));
    return checked(channel, () => readEntry(new Answer(answer, "WriteFile").map("entry")));
  }

  async stat(path: string, options: FileCallOptions & { readonly follow?: boolean } = {}): Promise<FileEntry> {
    const { follow, user } = options;
    return readEntry((await this.#call("Stat", { path, follow, user }, options)).map("entry"));
  }

  async *listDir(path: string, options: FileCallOptions & { readonly depth?: number } = {}): AsyncGenerator<FileEntry, void, void> {
    const { depth, user } = options;
    const truncated = yield* this.#entries("ListDir", { path, depth, user }, options);
    if (truncated) throw broken("a listing that was cut");
  }

  async *glob(
    pattern: string,
    options: FileCallOptions & { readonly cwd?: string; readonly limit?: number } = {},
  ): AsyncGenerator<FileEntry, { readonly truncated: boolean }, void> {
    const { cwd, limit, user } = options;
    return { truncated: yield* this.#entries("Glob", { pattern, cwd, limit, user }, options) };
  }

  async makeDir(path: string, options: FileCallOptions & { readonly mode?: number; readonly parents?: boolean } = {}): Promise<boolean> {
    const { mode, parents, user } = options;
    return (await this.#call("MakeDir", { path, mode, parents, user }, options)).flag("created");
  }

  async move(from: string, to: string, options: FileCallOptions & { readonly overwrite?: boolean } = {}): Promise<void> {
    await this.#call("Move", { from, to, overwrite: options.overwrite, user: options.user }, options);
  }

  async remove(path: string, options: FileCallOptions & { readonly recursive?: boolean } = {}): Promise<void> {
    await this.#call("Remove", { path, recursive: options.recursive, user: options.user }, options);
  }

  async chmod(path: string, mode: number, options: FileCallOptions & { readonly recursive?: boolean } = {}): Promise<void> {
    await this.#call("Chmod", { path, mode, recursive: options.recursive, user: options.user }, options);
  }

  async chown(path: string, owner: string, options: GuestCallOptions & { readonly recursive?: boolean } = {}): Promise<void> {
    await this.#call("Chown", { path, owner, recursive: options.recursive }, options);
  }

  async dial(
    target:
      | { readonly network: "tcp"; readonly host?: string; readonly port: number }
      | { readonly network: "unix"; readonly path: string; readonly user?: string },
    options: GuestCallOptions = {},
  ): Promise<Duplex> {
    const channel = this.#opener.open("Dial", { ...target }, callOptions(options));
    await answered(channel, "Dial");
    return new DialStream(channel);
  }

  async stats(options: GuestCallOptions = {}): Promise<GuestStats> {
    return readStats(await this.#call("Stats", {}, options));
  }

  async shutdown(graceMs: number, options: GuestCallOptions = {}): Promise<void> {
    await this.#call("Shutdown", { grace_ms: graceMs }, options);
  }

  /** A call whose answer is all there is. */
  async #call(method: GuestMethod, params: Wire, options: GuestCallOptions): Promise<Answer> {
    const channel = this.#opener.open(method, params, { ...callOptions(options), noInput: true });
    const answer = await answered(channel, method);
    // Does nothing when the answer was the last frame, as it should be.
    channel.cancel();
    return answer;
  }

  /** The entries of a listing; its value says whether a limit cut it. */
  async *#entries(method: GuestMethod, params: Wire, options: GuestCallOptions): AsyncGenerator<FileEntry, boolean, void> {
    const channel = this.#opener.open(method, params, { ...callOptions(options), noInput: true });
    await answered(channel, method);
    let truncated = false;
    for await (const frame of channel) {
      if (frame.kind === "data" || truncated) throw broken("a listing with something else in it");
      const event = new Answer(frame.event, method);
      if (event.oneOf("type", ["entries", "truncated"]) === "truncated") truncated = true;
      else for (const entry of event.maps("entries")) yield readEntry(entry);
    }
    return truncated;
  }
}

function callOptions(options: GuestCallOptions): { deadlineMs: number; signal?: AbortSignal } {
  return { deadlineMs: options.deadlineMs ?? DEFAULT_DEADLINE_MS, ...signalOnly(options) };
}

function signalOnly(options: GuestCallOptions): { signal?: AbortSignal } {
  return options.signal === undefined ? {} : { signal: options.signal };
}

function processParams(spec: ProcessSpec): Wire {
  return {
    argv: spec.argv,
    command: spec.command,
    env: spec.env,
    cwd: spec.cwd,
    user: spec.user,
    pty: spec.pty === undefined ? undefined : { cols: spec.pty.cols, rows: spec.pty.rows },
    stdin: spec.stdin,
    timeout_ms: spec.timeoutMs,
    output_limit: spec.outputLimit,
    on_full: spec.onFull,
    tag: spec.tag,
  };
}

function identity(answer: Answer): { readonly id: number; readonly pid: number } {
  return { id: answer.int("id"), pid: answer.int("pid") };
}

function broken(what: string): CaissonError {
  return new CaissonError("protocol_error", `The guest agent answered wrongly: ${what}.`);
}

async function answered(channel: Channel, method: string): Promise<Answer> {
  return new Answer(await mapped(channel.reply), method);
}

/** Inside a sandbox "not found" is always about a path. */
async function mapped<T>(promise: Promise<T>): Promise<T> {
  try {
    return await promise;
  } catch (error) {
    if (!isCaissonError(error, "not_found")) throw error;
    throw new CaissonError("file_not_found", error.message, { cause: error, ...(error.detail && { detail: error.detail }) });
  }
}

/** Reads an answer; when it does not fit, the channel is left. */
function checked<T>(channel: Channel, read: () => T): T {
  try {
    return read();
  } catch (error) {
    channel.cancel();
    throw error;
  }
}

async function* fileBytes(channel: Channel, length: number | undefined): AsyncGenerator<Uint8Array, void, void> {
  let left = length ?? Number.POSITIVE_INFINITY;
  for await (const frame of channel) {
    if (frame.kind !== "data" || frame.stream !== STREAM_INPUT) throw broken("a file with something else in it");
    left -= frame.bytes.length;
    if (left < 0) throw broken("more bytes of a file than asked for");
    yield frame.bytes;
  }
}
