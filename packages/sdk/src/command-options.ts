import type { CallOptions } from "./call-options.ts";
import type { Content } from "./http-client.ts";
import type { OutputStream } from "./command-event.ts";

/** How a command runs. */
export interface ProcessOptions {
  /** Added to the sandbox's environment. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** Working directory. @default the sandbox's */
  readonly cwd?: string | undefined;
  /** As whom: a name, a uid, or `uid:gid`. @default the sandbox's user */
  readonly user?: string | undefined;
  /** Time after which the whole process tree is killed, such as `30s`; `0` for none. @default the server's */
  readonly timeout?: string | undefined;
  /** Bytes of output kept per stream in the sandbox. @default 64 MiB */
  readonly outputLimit?: number | undefined;
  /** When that is full: stop the writer, or drop the oldest bytes. @default block; in the background drop */
  readonly onFull?: "block" | "drop" | undefined;
  /** A label, by which `processes.list` finds it. */
  readonly tag?: string | undefined;
  /** Resource limits of the process and what it starts. @default the sandbox's */
  readonly limits?: ProcessLimits | undefined;
}

/** Resource limits of a process and what it starts; never above the sandbox's. */
export interface ProcessLimits {
  /** CPU time of each process, such as `30s`; beyond it `XCPU` ends it. */
  readonly cpuTime?: string | undefined;
  /** Address space of each process, in MiB. */
  readonly memoryMb?: number | undefined;
  /** Open files of each process. */
  readonly openFiles?: number | undefined;
  /** Largest file that it may write, in MiB. */
  readonly fileSizeMb?: number | undefined;
}

/** Options of `commands.stream`. */
export interface StreamOptions extends ProcessOptions, CallOptions {
  /** Standard input: text, bytes, or a stream of them; then end of file. @default empty */
  readonly stdin?: Content | undefined;
}

/** Options of `commands.run`. */
export interface RunOptions extends StreamOptions {
  /** Called with text of standard output while the command runs; a promise it returns is awaited, so a slow one slows the command. */
  readonly onStdout?: ((text: string) => unknown) | undefined;
  /** The same for standard error. */
  readonly onStderr?: ((text: string) => unknown) | undefined;
  /** Throw `CommandFailedError` when the command ends with another status than 0. */
  readonly check?: boolean | undefined;
  /** Most bytes of each stream that the result holds. @default 64 MiB */
  readonly maxOutput?: number | undefined;
}

/** Options of `commands.spawn`. */
export interface SpawnOptions extends ProcessOptions, CallOptions {
  /** Standard input: text or bytes, then end of file; or `{ open: true }`, to be written with `commands.write`. @default empty */
  readonly stdin?: string | Uint8Array | { readonly open: true } | undefined;
}

/** Options of `commands.attach`. */
export interface AttachOptions extends CallOptions {
  /** First byte wanted of each stream. @default the oldest kept */
  readonly from?: Readonly<Partial<Record<OutputStream, number>>> | undefined;
}

/** Options of `commands.kill`. */
export interface KillOptions extends CallOptions {
  /** Name without SIG, or number. @default TERM */
  readonly signalName?: string | undefined;
  /** Who gets it: the process, its group, or all it started. @default tree */
  readonly scope?: "leader" | "group" | "tree" | undefined;
}
