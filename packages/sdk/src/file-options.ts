import type { CallOptions } from "./call-options.ts";

/** Options of file calls. */
export interface FileOptions extends CallOptions {
  /** As whom. @default the sandbox's user */
  readonly user?: string | undefined;
}

/** What to read of a file. */
export interface ReadOptions extends FileOptions {
  /** First byte wanted. A part is read as it is, even while the file is being written. @default 0 */
  readonly offset?: number | undefined;
  /** Most bytes wanted. @default all */
  readonly length?: number | undefined;
  /** Compare the bytes that come with the file's SHA-256; whole files only. @default false */
  readonly verify?: boolean | undefined;
}

/** How to write a file. */
export interface WriteOptions extends FileOptions {
  /** In octal digits such as `0755`. @default 0644, or as it was */
  readonly mode?: string | undefined;
  /** Write in place from this byte on, instead of replacing the file. */
  readonly offset?: number | undefined;
  /** Replace the file only if what arrives has this SHA-256, in hex. */
  readonly sha256?: string | undefined;
  /** Only if the file still has this version, of `stat` or an earlier write; else `precondition_failed`. */
  readonly ifVersion?: string | undefined;
  /** Only if there is no such file yet; else `precondition_failed`. @default false */
  readonly ifAbsent?: boolean | undefined;
}

/** A query's form of the options that every file call has. */
export function callOf(options: CallOptions): CallOptions {
  return { signal: options.signal, timeoutMs: options.timeoutMs };
}
