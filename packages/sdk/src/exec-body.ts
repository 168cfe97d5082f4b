import type { ExecRequest, ProcessFields } from "@caisson/contract";
import { toBase64 } from "./base64.ts";
import type { ProcessLimits, ProcessOptions } from "./command-options.ts";

/** Most bytes of standard input that go with the request itself. */
const INLINE_STDIN = 1_048_576;

/** A shell line, or a program with its arguments. */
export type Command = string | readonly string[];

/** The fields of a request that starts a process. */
export function execBody(command: Command, options: ProcessOptions): ProcessFields {
  const [program = "", ...args] = typeof command === "string" ? [command] : command;
  return {
    command: program,
    ...(typeof command === "string" ? {} : { args, mode: "argv" as const }),
    ...(options.env === undefined ? {} : { env: { ...options.env } }),
    ...(options.cwd === undefined ? {} : { workdir: options.cwd }),
    ...(options.user === undefined ? {} : { user: options.user }),
    ...(options.timeout === undefined ? {} : { timeout: options.timeout }),
    ...(options.outputLimit === undefined ? {} : { output_limit: options.outputLimit }),
    ...(options.onFull === undefined ? {} : { on_full: options.onFull }),
    ...(options.tag === undefined ? {} : { tag: options.tag }),
    ...(options.limits === undefined ? {} : { limits: limitsBody(options.limits) }),
  };
}

function limitsBody({ cpuTime, memoryMb, openFiles, fileSizeMb }: ProcessLimits): NonNullable<ProcessFields["limits"]> {
  return {
    ...(cpuTime === undefined ? {} : { cpu_time: cpuTime }),
    ...(memoryMb === undefined ? {} : { memory_mb: memoryMb }),
    ...(openFiles === undefined ? {} : { open_files: openFiles }),
    ...(fileSizeMb === undefined ? {} : { file_size_mb: fileSizeMb }),
  };
}

/** Standard input that fits into the request; undefined when it must be sent beside it. */
export function inlineStdin(stdin: unknown): Pick<ExecRequest, "stdin" | "stdin_base64"> | undefined {
  if (stdin === undefined) return {};
  if (typeof stdin === "string" && stdin.length <= INLINE_STDIN) return { stdin };
  if (stdin instanceof Uint8Array && stdin.length <= INLINE_STDIN) return { stdin_base64: toBase64(stdin) };
  return undefined;
}
