import type { Duplex } from "node:stream";
import { CaissonError, systemClock, type ChannelOpener, type Clock, type ErrorCode, type GuestMethod } from "@caisson/contract";
import { Answer, type Wire } from "./answer.ts";
import { callOptions, DEFAULT_DEADLINE_MS, processParams, searchParams, signalOnly } from "./call-params.ts";
import { DialStream } from "./dial-stream.ts";
import type {
  AttachedProcess,
  Exit,
  FileCallOptions,
  FileEntry,
  Guest,
  GuestCallOptions,
  GuestStats,
  ListeningPort,
  ProcessSpec,
  SearchMatch,
  SearchOptions,
  SearchSummary,
  Session,
  Upload,
  WatchOutput,
} from "./guest.ts";
import { ProcessStream } from "./process-stream.ts";
import { readEntry, readExit, readMatch, readPort, readSession, readSha256, readStats, readUpload } from "./read-answer.ts";
import { answered, broken, checked, fileBytes, identity, mapped, watchOutput } from "./read-channel.ts";
import { upload } from "./upload.ts";

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

  async wait(id: number, options: GuestCallOptions = {}): Promise<Exit> {
    return readExit((await this.#patientCall("WaitSession", { id }, options)).map("exit"));
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

  async getXattrs(path: string, options: FileCallOptions & { readonly follow?: boolean } = {}): Promise<ReadonlyMap<string, Uint8Array>> {
    const { follow, user } = options;
    return (await this.#call("GetXattrs", { path, follow, user }, options)).bytesMap("attributes");
  }

  async setXattr(
    path: string,
    name: string,
    value: Uint8Array,
    options: FileCallOptions & { readonly follow?: boolean } = {},
  ): Promise<void> {
    await this.#call("SetXattr", { path, name, value, follow: options.follow, user: options.user }, options);
  }

  async removeXattr(path: string, name: string, options: FileCallOptions & { readonly follow?: boolean } = {}): Promise<void> {
    await this.#call("RemoveXattr", { path, name, follow: options.follow, user: options.user }, options);
  }

  async digest(path: string, options: FileCallOptions = {}): Promise<{ readonly entry: FileEntry; readonly sha256: string }> {
    const answer = await this.#patientCall("Digest", { path, user: options.user }, options);
    return { entry: readEntry(answer.map("entry")), sha256: readSha256(answer) };
  }

  async openUpload(
    path: string,
    options: FileCallOptions & {
      readonly size?: number;
      readonly mode?: number;
      readonly createParents?: boolean;
      readonly expiresMs?: number;
    } = {},
  ): Promise<Upload> {
    const { size, mode, createParents, expiresMs, user } = options;
    const params = { path, size, mode, create_parents: createParents, expires_ms: expiresMs, user };
    return readUpload((await this.#call("OpenUpload", params, options)).map("upload"));
  }

  async writeUpload(id: number, offset: number, content: AsyncIterable<Uint8Array>, options: GuestCallOptions = {}): Promise<number> {
    const channel = this.#opener.open("WriteUpload", { id, offset }, signalOnly(options));
    const ms = options.deadlineMs ?? DEFAULT_DEADLINE_MS;
    const answer = await mapped(upload(channel, content, { clock: this.#clock, answerMs: ms, stallMs: ms }), "upload_not_found");
    return checked(channel, () => new Answer(answer, "WriteUpload").int("offset"));
  }

  async upload(id: number, options: GuestCallOptions = {}): Promise<Upload> {
    const found = readUpload((await this.#call("GetUpload", { id }, options, "upload_not_found")).map("upload"));
    if (found.id !== id) throw broken("another upload than the one asked for");
    return found;
  }

  async uploads(options: GuestCallOptions = {}): Promise<readonly Upload[]> {
    return (await this.#call("GetUpload", {}, options)).maps("uploads").map(readUpload);
  }

  async commitUpload(
    id: number,
    options: GuestCallOptions & { readonly sha256?: string } = {},
  ): Promise<{ readonly entry: FileEntry; readonly sha256: string }> {
    const answer = await this.#patientCall("CommitUpload", { id, sha256: options.sha256 }, options, "upload_not_found");
    return { entry: readEntry(answer.map("entry")), sha256: readSha256(answer) };
  }

  async cancelUpload(id: number, options: GuestCallOptions = {}): Promise<void> {
    await this.#call("CancelUpload", { id }, options, "upload_not_found");
  }

  async readTree(
    path: string,
    options: FileCallOptions & { readonly exclude?: readonly string[] } = {},
  ): Promise<{ readonly entry: FileEntry; readonly content: AsyncIterable<Uint8Array> }> {
    const { exclude, user } = options;
    const channel = this.#opener.open("ReadTree", { path, exclude, user }, { ...callOptions(options), noInput: true });
    const answer = await answered(channel, "ReadTree");
    return { entry: checked(channel, () => readEntry(answer.map("entry"))), content: fileBytes(channel, undefined) };
  }

  async writeTree(
    path: string,
    content: AsyncIterable<Uint8Array>,
    options: FileCallOptions & { readonly keepOwners?: boolean; readonly mode?: number } = {},
  ): Promise<{ readonly entries: number; readonly bytes: number }> {
    const { keepOwners, mode, user } = options;
    const channel = this.#opener.open("WriteTree", { path, keep_owners: keepOwners, mode, user }, signalOnly(options));
    const ms = options.deadlineMs ?? DEFAULT_DEADLINE_MS;
    const answer = new Answer(await mapped(upload(channel, content, { clock: this.#clock, answerMs: ms, stallMs: ms })), "WriteTree");
    return checked(channel, () => ({ entries: answer.int("entries"), bytes: answer.int("bytes") }));
  }

  async *search(
    path: string,
    pattern: string,
    options: FileCallOptions & SearchOptions & { readonly limit?: number } = {},
  ): AsyncGenerator<readonly SearchMatch[], SearchSummary, void> {
    const params = { path, pattern, ...searchParams(options), limit: options.limit };
    return yield* this.#batches("Search", params, options, "matches", (event) => event.maps("matches").map(readMatch));
  }

  async *replace(
    path: string,
    pattern: string,
    replacement: string,
    options: FileCallOptions & SearchOptions & { readonly dryRun?: boolean } = {},
  ): AsyncGenerator<readonly { readonly path: string; readonly count: number }[], SearchSummary, void> {
    const params = { path, pattern, replacement, ...searchParams(options), dry_run: options.dryRun };
    return yield* this.#batches("Replace", params, options, "replaced", (event) =>
      event.maps("files").map((file) => ({ path: file.text("path"), count: file.int("count") })),
    );
  }

  async openWatch(
    path: string,
    options: FileCallOptions & { readonly recursive?: boolean; readonly expiresMs?: number } = {},
  ): Promise<{ readonly id: number; readonly seq: number }> {
    const { recursive, expiresMs, user } = options;
    const answer = await this.#call("OpenWatch", { path, recursive, expires_ms: expiresMs, user }, options);
    return { id: answer.int("id"), seq: answer.int("seq") };
  }

  async readWatch(id: number, after: number, options: GuestCallOptions = {}): Promise<AsyncIterable<WatchOutput>> {
    const channel = this.#opener.open("ReadWatch", { id, after }, { ...callOptions(options), noInput: true });
    await mapped(channel.reply, "watch_not_found");
    return watchOutput(channel);
  }

  async closeWatch(id: number, options: GuestCallOptions = {}): Promise<void> {
    await this.#call("CloseWatch", { id }, options, "watch_not_found");
  }

  async ports(options: GuestCallOptions = {}): Promise<readonly ListeningPort[]> {
    return (await this.#call("ListPorts", {}, options)).maps("ports").map(readPort);
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

  /** A call whose answer takes as long as the work does: bounded only by the caller. */
  #patientCall(method: GuestMethod, params: Wire, options: GuestCallOptions, missing?: ErrorCode): Promise<Answer> {
    return this.#call(method, params, { ...options, deadlineMs: options.deadlineMs ?? Number.POSITIVE_INFINITY }, missing);
  }

  /** Batches of events of one type; its value is the summary that comes last. */
  async *#batches<T>(
    method: GuestMethod,
    params: Wire,
    options: GuestCallOptions,
    type: string,
    read: (event: Answer) => readonly T[],
  ): AsyncGenerator<readonly T[], SearchSummary, void> {
    const channel = this.#opener.open(method, params, { ...callOptions(options), noInput: true });
    await answered(channel, method);
    // It has begun, whenever the first result comes.
    yield [];
    let truncated = false;
    let summary: SearchSummary | undefined;
    for await (const frame of channel) {
      if (frame.kind === "data" || summary !== undefined) throw broken("results with something else among them");
      const event = new Answer(frame.event, method);
      const kind = event.oneOf("type", [type, "truncated", "summary"]);
      if (kind === "truncated") truncated = true;
      else if (kind === "summary") summary = { files: event.int("files"), skipped: event.int("skipped"), truncated };
      else yield read(event);
    }
    if (summary === undefined) throw broken("results without a summary");
    return summary;
  }

  /** A call whose answer is all there is. */
  async #call(method: GuestMethod, params: Wire, options: GuestCallOptions, missing?: ErrorCode): Promise<Answer> {
    const channel = this.#opener.open(method, params, { ...callOptions(options), noInput: true });
    const answer = new Answer(await mapped(channel.reply, missing), method);
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
