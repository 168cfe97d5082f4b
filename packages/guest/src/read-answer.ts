import { CaissonError } from "@caisson/contract";
import type { Answer } from "./answer.ts";
import type { Exit, FileEntry, GuestStats, OutputRange, Session } from "./guest.ts";

const ENTRY_TYPES = ["file", "directory", "symlink", "fifo", "socket", "block", "char"] as const;

function readRange(answer: Answer): OutputRange {
  const start = answer.int("start");
  return { start, end: answer.int("end", start) };
}

export function readExit(answer: Answer): Exit {
  const code = answer.intOrNull("code");
  const signal = answer.textOrNull("signal");
  if ((code === null) === (signal === null))
    throw new CaissonError("protocol_error", "The guest agent answered wrongly: an exit has either a code or a signal.");
  return {
    code,
    signal,
    timedOut: answer.flag("timed_out"),
    durationMs: answer.int("duration_ms"),
    startedAtMs: answer.int("started_at_ms"),
    endedAtMs: answer.int("ended_at_ms"),
    stdoutBytes: answer.int("stdout_bytes"),
    stderrBytes: answer.int("stderr_bytes"),
  };
}

export function readSession(answer: Answer): Session {
  const exit = answer.mapOrNull("exit");
  return {
    id: answer.int("id"),
    pid: answer.int("pid"),
    argv: answer.texts("argv"),
    command: answer.textOrNull("command"),
    cwd: answer.text("cwd"),
    user: answer.text("user"),
    tag: answer.textOrNull("tag"),
    pty: answer.flag("pty"),
    startedAtMs: answer.int("started_at_ms"),
    stdout: readRange(answer.map("stdout")),
    stderr: readRange(answer.map("stderr")),
    exit: exit === null ? null : readExit(exit),
  };
}

export function readEntry(answer: Answer): FileEntry {
  return {
    path: answer.text("path"),
    name: answer.text("name"),
    type: answer.oneOf("type", ENTRY_TYPES),
    size: answer.int("size"),
    mode: answer.int("mode"),
    uid: answer.int("uid"),
    gid: answer.int("gid"),
    user: answer.textOrNull("user"),
    group: answer.textOrNull("group"),
    // Files may be older than the epoch.
    mtimeMs: answer.int("mtime_ms", Number.MIN_SAFE_INTEGER),
    target: answer.textOrNull("target"),
  };
}

export function readStats(answer: Answer): GuestStats {
  return {
    uptimeMs: answer.int("uptime_ms"),
    processes: answer.int("processes"),
    sessions: answer.int("sessions"),
    memoryBytes: answer.int("memory_bytes"),
    cpuMs: answer.int("cpu_ms"),
    diskTotal: answer.int("disk_total"),
    diskFree: answer.int("disk_free"),
  };
}
