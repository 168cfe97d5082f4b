import type { Clock } from "@caisson/contract";
import type { BytePipe } from "./byte-pipe.ts";
import type { MockFiles } from "./mock-files.ts";
import type { MockUser } from "./mock-user.ts";

/** Where a command reads from. */
export interface ByteSource {
  read(): Promise<Uint8Array | undefined>;
  unread(bytes: Uint8Array): void;
}
/** Where a command writes to; false when nobody reads any more. */
export interface ByteSink {
  write(bytes: Uint8Array): Promise<boolean>;
}
/** The three streams of a command. */
export interface Io {
  readonly stdin: ByteSource;
  readonly stdout: ByteSink;
  readonly stderr: ByteSink;
}

/** What a running mock process is to its commands. */
export interface ProcessControl {
  readonly pid: number;
  /** Aborted when the process is killed. */
  readonly killed: AbortSignal;
  /** Ends the pipe's waits when the process is killed. */
  track(pipe: BytePipe): void;
  /** Signals this process or another one of the box; false when there is none. */
  kill(pid: number, signal: string): boolean;
  /** From now on the process ignores a signal (not KILL). */
  ignore(signal: string): void;
}

/** Everything a shell carries along; a subshell has a copy. */
export interface ShellState {
  readonly files: MockFiles;
  readonly clock: Clock;
  readonly user: MockUser;
  readonly process: ProcessControl;
  readonly hostname: string;
  readonly commands: ReadonlyMap<string, MockCommand>;
  env: Map<string, string>;
  cwd: string;
  status: number;
  args: readonly string[];
}

/** One invocation of a command. */
export interface CommandCall {
  readonly name: string;
  readonly args: readonly string[];
  readonly io: Io;
  readonly state: ShellState;
  /** Runs another command with the same streams. */
  readonly run: (argv: readonly string[]) => Promise<number>;
}
/** A command of the mock's shell: returns its exit code. */
export type MockCommand = (call: CommandCall) => Promise<number> | number;

/** Unwinds everything: the process was killed by a signal. */
export class Killed extends Error {
  readonly signal: string;
  constructor(signal: string) {
    super(`killed by ${signal}`);
    this.signal = signal;
  }
}
/** Unwinds one command: nobody reads its output. */
export class BrokenPipe extends Error {}
/** Unwinds a shell: `exit`. */
export class ExitShell extends Error {
  readonly status: number;
  constructor(status: number) {
    super(`exit ${status}`);
    this.status = status;
  }
}

/** Writes text or bytes, or unwinds the command when nobody reads. */
export async function put(sink: ByteSink, data: string | Uint8Array): Promise<void> {
  if (!(await sink.write(typeof data === "string" ? Buffer.from(data) : data))) throw new BrokenPipe();
}

/** A path as an absolute one. */
export function absolute(state: ShellState, path: string): string {
  return path.startsWith("/") ? path : `${state.cwd}/${path}`;
}

/** Everything that is left to read. */
export async function readAll(source: ByteSource): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for (let bytes = await source.read(); bytes !== undefined; bytes = await source.read()) chunks.push(bytes);
  return Buffer.concat(chunks);
}

/** What the C library would say of an error. */
export function reasonOf(error: { readonly code: string; readonly message: string }): string {
  const texts: Record<string, string> = {
    not_found: "No such file or directory",
    permission_denied: "Permission denied",
    not_a_directory: "Not a directory",
    is_a_directory: "Is a directory",
    already_exists: "File exists",
    not_empty: "Directory not empty",
  };
  return texts[error.code] ?? error.message;
}
