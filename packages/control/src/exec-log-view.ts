import type { ExecLogEntry } from "@caisson/contract";
import type { ProcessRecord } from "@caisson/store";

/** A process of the exec log as the API shows it. */
export function toExecLogEntry(record: ProcessRecord): ExecLogEntry {
  const { exit } = record;
  return {
    sandbox_id: record.sandboxId,
    process_id: record.processId,
    kind: record.kind,
    command: record.command,
    args: [...record.args],
    cut: record.cut,
    user: record.user,
    workdir: record.workdir,
    started_at: new Date(record.startedAt).toISOString(),
    ended_at: record.endedAt === null ? null : new Date(record.endedAt).toISOString(),
    duration_ms: exit?.durationMs ?? null,
    exit_code: exit?.exitCode ?? null,
    signal: exit?.signal ?? null,
    timed_out: exit?.timedOut ?? false,
    stdout_bytes: exit?.stdoutBytes ?? null,
    stderr_bytes: exit?.stderrBytes ?? null,
    key: record.keyName,
    request_id: record.requestId,
  };
}
