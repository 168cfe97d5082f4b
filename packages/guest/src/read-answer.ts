import { CaissonError } from "@caisson/contract";
import type { Answer } from "./answer.ts";
import type { Exit, FileChange, FileEntry, GuestStats, ListeningPort, OutputRange, SearchMatch, Session, Upload } from "./guest.ts";

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
    version: readVersion(answer),
    target: answer.textOrNull("target"),
  };
}

function readVersion(answer: Answer): string {
  const version = answer.text("version");
  if (!/^[A-Za-z0-9-]{1,64}$/.test(version)) throw new CaissonError("protocol_error", "The guest agent answered wrongly: version.");
  return version;
}

/** A SHA-256 in hex. */
export function readSha256(answer: Answer): string {
  const sha256 = answer.text("sha256");
  if (!/^[0-9a-f]{64}$/.test(sha256)) throw new CaissonError("protocol_error", "The guest agent answered wrongly: sha256.");
  return sha256;
}

export function readUpload(answer: Answer): Upload {
  return {
    id: answer.int("id"),
    path: answer.text("path"),
    size: answer.intOrNull("size"),
    offset: answer.int("offset"),
    expiresAtMs: answer.int("expires_at_ms"),
  };
}

export function readMatch(answer: Answer): SearchMatch {
  const text = answer.text("text");
  const bytes = Buffer.from(text);
  const [start, end] = [answer.int("start"), answer.int("end", answer.int("start"))];
  if (end > bytes.length) throw new CaissonError("protocol_error", "The guest agent answered wrongly: a match outside its text.");
  const units = (to: number): number => bytes.subarray(0, to).toString().length;
  return {
    path: answer.text("path"),
    line: answer.int("line", 1),
    offset: answer.int("offset"),
    text,
    start: units(start),
    end: units(end),
  };
}

export function readChange(answer: Answer): FileChange {
  return {
    seq: answer.int("seq", 1),
    kind: answer.oneOf("kind", ["created", "modified", "deleted", "moved", "attributes", "overflow"]),
    path: answer.text("path"),
    directory: answer.flag("directory"),
    from: answer.textOrNull("from"),
  };
}

export function readPort(answer: Answer): ListeningPort {
  const port = answer.int("port", 1);
  if (port > 65_535) throw new CaissonError("protocol_error", "The guest agent answered wrongly: a port above 65535.");
  return {
    port,
    address: answer.text("address"),
    pid: answer.intOrNull("pid"),
    command: answer.textOrNull("command"),
    user: answer.textOrNull("user"),
  };
}

export function readStats(answer: Answer): GuestStats {
  return {
    uptimeMs: answer.int("uptime_ms"),
    processes: answer.int("processes"),
    sessions: answer.int("sessions"),
    memoryBytes: answer.int("memory_bytes"),
    cpuMs: answer.int("cpu_ms"),
    cpus: answer.int("cpus", 1),
    diskTotal: answer.int("disk_total"),
    diskFree: answer.int("disk_free"),
    rxBytes: answer.int("rx_bytes"),
    rxPackets: answer.int("rx_packets"),
    txBytes: answer.int("tx_bytes"),
    txPackets: answer.int("tx_packets"),
  };
}
