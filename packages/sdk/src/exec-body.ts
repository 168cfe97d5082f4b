import type { ExecRequest } from "@caisson/contract";
import { toBase64 } from "./base64.ts";
import type { ProcessOptions } from "./command-options.ts";

/** Most bytes of standard input that go with the request itself. */
const INLINE_STDIN = 1_048_576;

/** A shell line, or a program with its arguments. */
export type Command = string | readonly string[];

/** The body of an exec request. */
export function execBody(command: Command, options: ProcessOptions): ExecRequest {
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
  };
}

/** Standard input that fits into the request; undefined when it must be sent beside it. */
export function inlineStdin(stdin: unknown): Pick<ExecRequest, "stdin" | "stdin_base64"> | undefined {
  if (stdin === undefined) return {};
  if (typeof stdin === "string" && stdin.length <= INLINE_STDIN) return { stdin };
  if (stdin instanceof Uint8Array && stdin.length <= INLINE_STDIN) return { stdin_base64: toBase64(stdin) };
  return undefined;
}
