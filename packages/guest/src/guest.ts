import type { Duplex } from "node:stream";

/** A process to start. Exactly one of `argv` and `command`. Field by field in docs/protocol.md. */
export interface ProcessSpec {
  readonly argv?: readonly string[];
  /** One line for `/bin/sh -c`. */
  readonly command?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly user?: string;
  readonly pty?: { readonly cols: number; readonly rows: number };
  /** False: standard input is `/dev/null`. */
  readonly stdin?: boolean;
  /** The agent kills the whole tree after it. */
  readonly timeoutMs?: number;
  /** Bytes kept per stream. */
  readonly outputLimit?: number;
  readonly onFull?: "block" | "drop";
  readonly tag?: string;
  readonly limits?: ProcessLimits;
}

/** Resource limits of a process and what it starts; they are only ever lowered. Absent: the sandbox's. */
export interface ProcessLimits {
  /** CPU time, in seconds; the process is then killed with XCPU, a second later with KILL. */
  readonly cpuSeconds?: number;
  /** Address space of each process, in bytes. */
  readonly memoryBytes?: number;
  /** Open descriptors of each process. */
  readonly openFiles?: number;
  /** Largest file it may write, in bytes. */
  readonly fileBytes?: number;
}

/** Byte offsets of one output stream: the first still kept, and how many were written. */
export interface OutputRange {
  readonly start: number;
  readonly end: number;
}

/** How a process ended. */
export interface Exit {
  /** Null when a signal ended it. */
  readonly code: number | null;
  /** Name without SIG, null when it ended by itself. */
  readonly signal: string | null;
  readonly timedOut: boolean;
  readonly durationMs: number;
  readonly startedAtMs: number;
  readonly endedAtMs: number;
  readonly stdoutBytes: number;
  readonly stderrBytes: number;
}

/** What a running process says, in order; `exit` is the last, exactly once. */
export type ProcessOutput =
  | { readonly type: "output"; readonly stream: "stdout" | "stderr"; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly type: "gap"; readonly stream: "stdout" | "stderr"; readonly from: number; readonly to: number }
  | { readonly type: "exit"; readonly exit: Exit };

/**
 * A process one is attached to. Iterate it once: taking output gives the writer room. When the connection breaks the
 * iteration throws (`agent_unreachable`); the process lives on, and `attach` continues at an offset.
 */
export interface AttachedProcess extends AsyncIterable<ProcessOutput> {
  /** Id of the process in its sandbox; never used again there. */
  readonly id: number;
  /** Process id inside the sandbox. */
  readonly pid: number;
  /** Sends bytes to standard input; resolves when they were taken by the link. Only on a process begun by `exec`. */
  write(bytes: Uint8Array): Promise<void>;
  /** Closes standard input. */
  closeInput(): void;
  /** Stops listening. The process lives on unless it was begun with `killOnDisconnect`. */
  detach(): void;
}

/** A process the agent knows. */
export interface Session {
  readonly id: number;
  readonly pid: number;
  readonly argv: readonly string[];
  readonly command: string | null;
  readonly cwd: string;
  readonly user: string;
  readonly tag: string | null;
  readonly pty: boolean;
  readonly startedAtMs: number;
  readonly stdout: OutputRange;
  readonly stderr: OutputRange;
  readonly exit: Exit | null;
}

/** A file system entry. */
export interface FileEntry {
  readonly path: string;
  readonly name: string;
  readonly type: "file" | "directory" | "symlink" | "fifo" | "socket" | "block" | "char";
  readonly size: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly user: string | null;
  readonly group: string | null;
  readonly mtimeMs: number;
  /** Opaque; changes whenever content or attributes do. Letters, digits and `-`, at most 64. */
  readonly version: string;
  readonly target: string | null;
}

/** An upload under way; nothing of it shows at its path. */
export interface Upload {
  readonly id: number;
  readonly path: string;
  /** Bytes it will have; null when not announced. */
  readonly size: number | null;
  /** Bytes it has. */
  readonly offset: number;
  /** When it is dropped unless bytes come. */
  readonly expiresAtMs: number;
}

/** What a search or replacement looks for, and where. */
export interface SearchOptions {
  /** The pattern is plain text. Default false: a regular expression (docs/protocol.md). */
  readonly fixed?: boolean;
  readonly ignoreCase?: boolean;
  /** Only files that match one of these glob patterns, relative to the folder. */
  readonly include?: readonly string[];
  /** No files or folders that match one of these. */
  readonly exclude?: readonly string[];
  /** Larger files are skipped. Default 64 MiB. */
  readonly maxFileBytes?: number;
}

/** One match of a search. */
export interface SearchMatch {
  readonly path: string;
  /** From 1. */
  readonly line: number;
  /** Byte offset of the match in the file. */
  readonly offset: number;
  /** Its line, at most 1024 bytes of it around the match. */
  readonly text: string;
  /** Where in `text` the match lies, in UTF-16 units. */
  readonly start: number;
  readonly end: number;
}

/** What a search or replacement went through. */
export interface SearchSummary {
  /** Files looked at. */
  readonly files: number;
  /** Files passed over: binary, too large, unreadable. */
  readonly skipped: number;
  /** A limit cut it. */
  readonly truncated: boolean;
}

/** One change of a watched folder. */
export interface FileChange {
  /** Grows by one per change of a watch, from 1. */
  readonly seq: number;
  /** `overflow`: the kernel dropped some; what is there must be read again. */
  readonly kind: "created" | "modified" | "deleted" | "moved" | "attributes" | "overflow";
  readonly path: string;
  readonly directory: boolean;
  /** Old path of what was moved within the watched folder. */
  readonly from: string | null;
}

/** What a reader of a watch gets; it never ends by itself. A gap names changes that were dropped, `[from, to)`. */
export type WatchOutput =
  | { readonly type: "changes"; readonly changes: readonly FileChange[] }
  | { readonly type: "gap"; readonly from: number; readonly to: number };

/** A TCP port that listens inside the sandbox. */
export interface ListeningPort {
  readonly port: number;
  /** Address it is bound to, such as `127.0.0.1`, `0.0.0.0` or `::`. */
  readonly address: string;
  /** Who listens; null when it cannot be told. */
  readonly pid: number | null;
  readonly command: string | null;
  readonly user: string | null;
}

/** Figures of a sandbox as its agent sees them. */
export interface GuestStats {
  readonly uptimeMs: number;
  readonly processes: number;
  readonly sessions: number;
  readonly memoryBytes: number;
  readonly cpuMs: number;
  /** Processors it may use. */
  readonly cpus: number;
  readonly diskTotal: number;
  readonly diskFree: number;
  /** Network figures of all interfaces but loopback. */
  readonly rxBytes: number;
  readonly rxPackets: number;
  readonly txBytes: number;
  readonly txPackets: number;
}

/** Options of every call. */
export interface GuestCallOptions {
  readonly signal?: AbortSignal;
  /** Time to wait for the first answer, in ms. Default 30 000. Streams after it are not bounded. */
  readonly deadlineMs?: number;
}

/** Options of file calls. */
export interface FileCallOptions extends GuestCallOptions {
  /** As whom. Default: the sandbox's user. */
  readonly user?: string;
}

/**
 * All that can be done inside one sandbox, over any channel opener. Answers of the agent are checked: what does not fit
 * the protocol is `protocol_error`. Errors are CaissonErrors; the agent's `not_found` becomes `file_not_found` for file
 * calls and `no_such_process` becomes `process_not_found`.
 */
export interface Guest {
  /** Starts a process and attaches to it in one round trip. */
  exec(spec: ProcessSpec & { readonly killOnDisconnect?: boolean }, options?: GuestCallOptions): Promise<AttachedProcess>;
  /** Starts a process in the background. */
  spawn(spec: ProcessSpec, options?: GuestCallOptions): Promise<{ readonly id: number; readonly pid: number }>;
  /** Attaches from byte offsets (default 0; what is not kept any more shows as a gap). Without `follow` it ends after what is there; no `exit` then if it still runs. */
  attach(
    id: number,
    from?: { readonly stdoutOffset?: number; readonly stderrOffset?: number; readonly follow?: boolean },
    options?: GuestCallOptions,
  ): Promise<AttachedProcess>;
  /** Signals a process; returns how many processes got it. Default: TERM to the whole tree. */
  kill(
    id: number,
    how?: { readonly signal?: string; readonly scope?: "leader" | "group" | "tree" },
    options?: GuestCallOptions,
  ): Promise<number>;
  /** Writes to standard input of any live process; returns the bytes taken. */
  writeInput(id: number, input: AsyncIterable<Uint8Array>, options?: GuestCallOptions): Promise<number>;
  closeInput(id: number, options?: GuestCallOptions): Promise<void>;
  resize(id: number, cols: number, rows: number, options?: GuestCallOptions): Promise<void>;
  /** Waits until a process is finished, reading none of its output; `deadlineMs` bounds the wait (default: none). */
  wait(id: number, options?: GuestCallOptions): Promise<Exit>;
  sessions(options?: GuestCallOptions): Promise<readonly Session[]>;
  /** One session; `process_not_found` when unknown. */
  session(id: number, options?: GuestCallOptions): Promise<Session>;

  /** Streams a file's bytes; leaving the loop early cancels. */
  readFile(
    path: string,
    options?: FileCallOptions & { readonly offset?: number; readonly length?: number },
  ): Promise<{ readonly entry: FileEntry; readonly content: AsyncIterable<Uint8Array> }>;
  /** Streams bytes into a file; atomic by rename unless `offset` or `append`. On any failure of the source nothing is left visible. */
  writeFile(
    path: string,
    content: AsyncIterable<Uint8Array>,
    options?: FileCallOptions & {
      readonly mode?: number;
      readonly offset?: number;
      readonly append?: boolean;
      readonly atomic?: boolean;
      readonly createParents?: boolean;
    },
  ): Promise<FileEntry>;
  stat(path: string, options?: FileCallOptions & { readonly follow?: boolean }): Promise<FileEntry>;
  listDir(path: string, options?: FileCallOptions & { readonly depth?: number }): AsyncIterable<FileEntry>;
  /** Entries that match; the last value returned by the generator says whether the limit cut the list. */
  glob(
    pattern: string,
    options?: FileCallOptions & { readonly cwd?: string; readonly limit?: number },
  ): AsyncGenerator<FileEntry, { readonly truncated: boolean }, void>;
  /** Returns whether it was made now (false: it was there). */
  makeDir(path: string, options?: FileCallOptions & { readonly mode?: number; readonly parents?: boolean }): Promise<boolean>;
  move(from: string, to: string, options?: FileCallOptions & { readonly overwrite?: boolean }): Promise<void>;
  remove(path: string, options?: FileCallOptions & { readonly recursive?: boolean }): Promise<void>;
  chmod(path: string, mode: number, options?: FileCallOptions & { readonly recursive?: boolean }): Promise<void>;
  chown(path: string, owner: string, options?: GuestCallOptions & { readonly recursive?: boolean }): Promise<void>;
  /** Extended attributes, as bytes by name. */
  getXattrs(path: string, options?: FileCallOptions & { readonly follow?: boolean }): Promise<ReadonlyMap<string, Uint8Array>>;
  setXattr(path: string, name: string, value: Uint8Array, options?: FileCallOptions & { readonly follow?: boolean }): Promise<void>;
  removeXattr(path: string, name: string, options?: FileCallOptions & { readonly follow?: boolean }): Promise<void>;
  /** SHA-256 of a whole file, in hex, with its entry from before the reading. `deadlineMs` bounds it (default: none). */
  digest(path: string, options?: FileCallOptions): Promise<{ readonly entry: FileEntry; readonly sha256: string }>;
  /** Begins an upload that survives broken connections. */
  openUpload(
    path: string,
    options?: FileCallOptions & {
      readonly size?: number;
      readonly mode?: number;
      readonly createParents?: boolean;
      readonly expiresMs?: number;
    },
  ): Promise<Upload>;
  /** Adds bytes at `offset`, where the upload must stand (`conflict` otherwise); returns where it stands now. What arrived before a break is kept. */
  writeUpload(id: number, offset: number, content: AsyncIterable<Uint8Array>, options?: GuestCallOptions): Promise<number>;
  /** `upload_not_found` when unknown. */
  upload(id: number, options?: GuestCallOptions): Promise<Upload>;
  uploads(options?: GuestCallOptions): Promise<readonly Upload[]>;
  /** Puts the file in place, whole. `digest_mismatch` when it has another SHA-256; the upload then stays. */
  commitUpload(
    id: number,
    options?: GuestCallOptions & { readonly sha256?: string },
  ): Promise<{ readonly entry: FileEntry; readonly sha256: string }>;
  cancelUpload(id: number, options?: GuestCallOptions): Promise<void>;
  /** A folder's content, or one file, as a tar stream (POSIX pax). */
  readTree(
    path: string,
    options?: FileCallOptions & { readonly exclude?: readonly string[] },
  ): Promise<{ readonly entry: FileEntry; readonly content: AsyncIterable<Uint8Array> }>;
  /** Unpacks a tar stream into a folder. A new folder appears whole or not at all; in an old one each file does. */
  writeTree(
    path: string,
    content: AsyncIterable<Uint8Array>,
    options?: FileCallOptions & { readonly keepOwners?: boolean; readonly mode?: number },
  ): Promise<{ readonly entries: number; readonly bytes: number }>;
  /** Matches as they are found, in batches, the first one empty as soon as the search has begun; the last value returned by the generator is the summary. */
  search(
    path: string,
    pattern: string,
    options?: FileCallOptions & SearchOptions & { readonly limit?: number },
  ): AsyncGenerator<readonly SearchMatch[], SearchSummary, void>;
  /** Files that were (or with `dryRun` would be) rewritten, in batches, likewise; the last value returned is the summary. */
  replace(
    path: string,
    pattern: string,
    replacement: string,
    options?: FileCallOptions & SearchOptions & { readonly dryRun?: boolean },
  ): AsyncGenerator<readonly { readonly path: string; readonly count: number }[], SearchSummary, void>;
  /** Begins a watch that survives broken connections; it is there when this resolves. */
  openWatch(
    path: string,
    options?: FileCallOptions & { readonly recursive?: boolean; readonly expiresMs?: number },
  ): Promise<{ readonly id: number; readonly seq: number }>;
  /** Changes after a sequence number, then as they happen. Leaving the loop leaves the watch open. */
  readWatch(id: number, after: number, options?: GuestCallOptions): Promise<AsyncIterable<WatchOutput>>;
  closeWatch(id: number, options?: GuestCallOptions): Promise<void>;
  /** TCP ports that listen, by number. */
  ports(options?: GuestCallOptions): Promise<readonly ListeningPort[]>;
  /** A connection to a TCP port or Unix socket inside the sandbox. */
  dial(
    target:
      | { readonly network: "tcp"; readonly host?: string; readonly port: number }
      | { readonly network: "unix"; readonly path: string; readonly user?: string },
    options?: GuestCallOptions,
  ): Promise<Duplex>;
  stats(options?: GuestCallOptions): Promise<GuestStats>;
  shutdown(graceMs: number, options?: GuestCallOptions): Promise<void>;
}
