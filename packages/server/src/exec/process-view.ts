import type { Process } from "@caisson/contract";
import { exitCodeOf, type Session } from "@caisson/guest";
import { isoTime } from "../http/iso-time.ts";

/** A process as the API shows it. */
export function toProcess(session: Session): Process {
  const [program = "", ...args] = session.argv;
  const { exit } = session;
  return {
    process_id: session.id,
    pid: session.pid,
    command: session.command ?? program,
    args: session.command === null ? args : [],
    workdir: session.cwd,
    user: session.user,
    pty: session.pty,
    tag: session.tag,
    started_at: isoTime(session.startedAtMs),
    running: exit === null,
    stdout: { start: session.stdout.start, end: session.stdout.end },
    stderr: { start: session.stderr.start, end: session.stderr.end },
    exit:
      exit === null ? null : { exit_code: exitCodeOf(exit), signal: exit.signal, duration_ms: exit.durationMs, timed_out: exit.timedOut },
  };
}
