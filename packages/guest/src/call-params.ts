import type { Wire } from "./answer.ts";
import type { FileCallOptions, GuestCallOptions, ProcessSpec, SearchOptions } from "./guest.ts";

/** Time to wait for the first answer, in ms, unless the caller says otherwise. */
export const DEFAULT_DEADLINE_MS = 30_000;

/** How long the first answer of a call is waited for, and what ends it. */
export function callOptions(options: GuestCallOptions): { deadlineMs?: number; signal?: AbortSignal } {
  const { deadlineMs = DEFAULT_DEADLINE_MS } = options;
  return { ...(Number.isFinite(deadlineMs) ? { deadlineMs } : {}), ...signalOnly(options) };
}

/** What ends a call that may take as long as it wants. */
export function signalOnly(options: GuestCallOptions): { signal?: AbortSignal } {
  return options.signal === undefined ? {} : { signal: options.signal };
}

/** A process as the agent is asked for it. */
export function processParams(spec: ProcessSpec): Wire {
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
    limits:
      spec.limits === undefined
        ? undefined
        : {
            cpu_seconds: spec.limits.cpuSeconds,
            memory_bytes: spec.limits.memoryBytes,
            open_files: spec.limits.openFiles,
            file_bytes: spec.limits.fileBytes,
          },
  };
}

/** What is searched, as the agent is asked for it. */
export function searchParams(options: FileCallOptions & SearchOptions): Wire {
  return {
    fixed: options.fixed,
    ignore_case: options.ignoreCase,
    include: options.include,
    exclude: options.exclude,
    max_file_bytes: options.maxFileBytes,
    user: options.user,
  };
}
