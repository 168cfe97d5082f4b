import {
  CaissonError,
  formatDuration,
  parseDuration,
  type ExecRequest,
  type FieldError,
  type ProcessFields,
  type ProcessLimits,
} from "@caisson/contract";
import type { ProcessLimits as GuestLimits, ProcessSpec } from "@caisson/guest";
import { quoteShellWord } from "./shell-quote.ts";

/** How long commands may run, in ms; 0 for no bound. */
export interface ExecTimeouts {
  readonly execTimeoutMs: number;
  readonly maxExecTimeoutMs: number;
}

/** Bytes of a MiB. */
const MIB = 1_048_576;

/** The process that a request asks for. Throws `invalid_request` for what the schema alone cannot see. */
export function processSpecOf(request: ProcessFields, input: "input" | "no input", timeouts: ExecTimeouts): ProcessSpec {
  const errors: FieldError[] = [];
  if (request.command.includes("\0")) errors.push({ path: "command", message: "must not contain a NUL" });
  for (const [index, arg] of (request.args ?? []).entries())
    if (arg.includes("\0")) errors.push({ path: `args.${index}`, message: "must not contain a NUL" });
  const timeoutMs = timeoutOf(request.timeout, timeouts, errors);
  const [first] = errors;
  if (first !== undefined) throw new CaissonError("invalid_request", `The body was refused: ${first.path} ${first.message}.`, { errors });
  return {
    ...programOf(request),
    stdin: input === "input",
    ...(request.env === undefined ? {} : { env: request.env }),
    ...(request.workdir === undefined ? {} : { cwd: request.workdir }),
    ...(request.user === undefined ? {} : { user: request.user }),
    ...(timeoutMs === 0 ? {} : { timeoutMs }),
    ...(request.output_limit === undefined ? {} : { outputLimit: request.output_limit }),
    ...(request.on_full === undefined ? {} : { onFull: request.on_full }),
    ...(request.pty === undefined ? {} : { pty: request.pty }),
    ...(request.tag === undefined ? {} : { tag: request.tag }),
    ...(request.limits === undefined ? {} : { limits: limitsOf(request.limits) }),
  };
}

/** Whether an exec request gives its process something to read. */
export function inputOf(request: ExecRequest): "input" | "no input" {
  return request.stdin_open === true || request.stdin !== undefined || request.stdin_base64 !== undefined ? "input" : "no input";
}

/** The bytes that a request gives for standard input; undefined for none. */
export function stdinOf(request: ExecRequest): Uint8Array | undefined {
  if (request.stdin !== undefined) return Buffer.from(request.stdin, "utf8");
  if (request.stdin_base64 !== undefined) return Buffer.from(request.stdin_base64, "base64");
  return undefined;
}

function limitsOf({ cpu_time, memory_mb, open_files, file_size_mb }: ProcessLimits): GuestLimits {
  return {
    ...(cpu_time === undefined ? {} : { cpuSeconds: Math.ceil((parseDuration(cpu_time) ?? 0) / 1000) }),
    ...(memory_mb === undefined ? {} : { memoryBytes: memory_mb * MIB }),
    ...(open_files === undefined ? {} : { openFiles: open_files }),
    ...(file_size_mb === undefined ? {} : { fileBytes: file_size_mb * MIB }),
  };
}

function programOf(request: ProcessFields): { argv: readonly string[] } | { command: string } {
  const { command, args = [] } = request;
  const mode = request.mode ?? (request.args === undefined ? "shell" : "argv");
  if (mode === "argv") return { argv: [command, ...args] };
  return { command: [command, ...args.map(quoteShellWord)].join(" ") };
}

/** The timeout that a request asks for, in ms; what is too long is added to `errors`. */
export function timeoutOf(text: string | undefined, { execTimeoutMs, maxExecTimeoutMs }: ExecTimeouts, errors: FieldError[]): number {
  const bounded = maxExecTimeoutMs > 0;
  if (text === undefined) return bounded && (execTimeoutMs === 0 || execTimeoutMs > maxExecTimeoutMs) ? maxExecTimeoutMs : execTimeoutMs;
  const asked = parseDuration(text) ?? 0;
  if (bounded && (asked === 0 || asked > maxExecTimeoutMs))
    errors.push({ path: "timeout", message: `must be at most ${formatDuration(maxExecTimeoutMs)} here (defaults.max_exec_timeout)` });
  return asked;
}
