import { CaissonError, STREAM_STDERR, STREAM_STDOUT } from "@caisson/contract";
import { required, type GuestHandlers, type Params } from "@caisson/guest";
import type { IncomingCall } from "@caisson/link";
import type { MockGuest } from "./mock-guest.ts";
import { signalName } from "./mock-signal.ts";
import type { MockProcessSpec, MockSession } from "./mock-session.ts";
import { mockUser } from "./mock-user.ts";

const DEFAULT_OUTPUT_LIMIT = 67_108_864;

interface ParsedProcess extends MockProcessSpec {
  readonly env: Readonly<Record<string, string>>;
  readonly userName: string | undefined;
}

function parseProcess(guest: MockGuest, params: Params, onFull: "block" | "drop"): ParsedProcess {
  const argv = params.texts("argv");
  const command = params.text("command");
  if ((argv === undefined) === (command === undefined))
    throw new CaissonError("invalid_argument", "Exactly one of argv and command is required.");
  if (argv !== undefined && (argv[0] ?? "") === "") throw new CaissonError("invalid_argument", "argv: the first item must name a program.");
  if (params.map("limits") !== undefined) throw new CaissonError("unsupported", "The mock cannot limit a process.");
  if (params.map("pty") !== undefined) throw new CaissonError("unsupported", "The mock has no terminals.");
  const userName = params.text("user") ?? guest.options.user;
  const user = mockUser(userName);
  const cwd = params.path("cwd") ?? guest.options.workdir ?? user.home;
  const where = guest.files.find(cwd, user, "follow");
  if (where.node === undefined) throw new CaissonError("not_found", `${cwd}: is not there.`);
  if (where.node.type !== "directory") throw new CaissonError("not_a_directory", `${cwd}: is not a directory.`);
  return {
    argv: argv ?? ["/bin/sh", "-c", command ?? ""],
    command,
    cwd: where.path,
    user: user.name,
    userName,
    env: params.textMap("env") ?? {},
    stdin: params.flag("stdin", false),
    timeoutMs: params.int("timeout_ms", 1),
    outputLimit: params.int("output_limit", 1) ?? DEFAULT_OUTPUT_LIMIT,
    onFull: params.oneOf("on_full", ["block", "drop"]) ?? onFull,
    tag: params.text("tag"),
  };
}

/** Sends a session's output from offsets; with the exit when it has ended and all was sent. */
async function streamOutput(call: IncomingCall, session: MockSession, at: [number, number], follow: boolean): Promise<void> {
  let gone = false;
  void call.closed.then(() => {
    gone = true;
    session.changes.notify();
  });
  const until = session.logs.map((log) => log.end);
  while (!gone) {
    let sent = false;
    for (const which of [0, 1] as const) {
      const log = session.logs[which];
      const stop = follow ? log.end : Math.min(until[which] ?? 0, log.end);
      if (at[which] < log.start) {
        await call.sendEvent({ type: "gap", stream: which === 0 ? "stdout" : "stderr", from: at[which], to: log.start });
        at[which] = log.start;
        sent = true;
      } else if (at[which] < stop) {
        const bytes = log.read(at[which], stop);
        await call.write(bytes, which === 0 ? STREAM_STDOUT : STREAM_STDERR);
        at[which] += bytes.length;
        if (follow) log.taken(at[which]);
        sent = true;
      }
    }
    if (sent) continue;
    if (session.exit !== undefined) {
      await call.sendEvent(session.exit, { fin: true });
      return;
    }
    if (!follow) return call.end();
    await session.changes.next();
  }
}

/** The methods about processes. */
export function mockProcessHandlers(guest: MockGuest): GuestHandlers {
  const find = (params: Params): MockSession => guest.session(required("id", params.int("id")));
  return {
    SpawnSession: (call, params) => {
      const spec = parseProcess(guest, params, "drop");
      params.finish();
      const { id, pid } = guest.start(spec, spec.env, spec.userName);
      call.reply({ id, pid }, { fin: true });
    },
    ExecCommand: async (call, params) => {
      const spec = parseProcess(guest, params, "block");
      const killOnDisconnect = params.flag("kill_on_disconnect", false);
      params.finish();
      const session = guest.start(spec, spec.env, spec.userName);
      call.reply({ id: session.id, pid: session.pid });
      if (killOnDisconnect) call.signal.addEventListener("abort", () => session.signal("KILL"), { once: true });
      void feed(call, session);
      await streamOutput(call, session, [0, 0], true);
    },
    StreamOutput: async (call, params) => {
      const session = find(params);
      const at: [number, number] = [params.int("stdout_offset") ?? 0, params.int("stderr_offset") ?? 0];
      const follow = params.flag("follow", true);
      params.finish();
      const [stdout, stderr] = session.logs;
      if (at[0] > stdout.end || at[1] > stderr.end)
        throw new CaissonError("invalid_argument", "An offset lies beyond the output written so far.");
      const range = ({ start, end }: { start: number; end: number }): Record<string, number> => ({ start, end });
      call.reply({ id: session.id, pid: session.pid, stdout: range(stdout), stderr: range(stderr) });
      await streamOutput(call, session, at, follow);
    },
    KillSession: (call, params) => {
      const session = find(params);
      const signal = signalName(params.text("signal") ?? "TERM");
      params.oneOf("scope", ["leader", "group", "tree"]);
      params.finish();
      if (signal === undefined) throw new CaissonError("invalid_argument", "signal: there is no such signal.");
      call.reply({ signalled: Number(session.signal(signal)) }, { fin: true });
    },
    WriteInput: async (call, params) => {
      const session = find(params);
      params.finish();
      let written = 0;
      for await (const frame of call) {
        if (frame.kind !== "data") continue;
        if (session.exit !== undefined || !(await session.input.write(frame.bytes)))
          throw new CaissonError("conflict", "The process takes no more input.");
        written += frame.bytes.length;
      }
      call.reply({ written }, { fin: true });
    },
    CloseInput: (call, params) => {
      const session = find(params);
      params.finish();
      session.input.end();
      call.reply({}, { fin: true });
    },
    ResizeTerminal: (_call, params) => {
      find(params);
      throw new CaissonError("unsupported", "The mock has no terminals.");
    },
    WaitSession: async (call, params) => {
      const session = find(params);
      params.finish();
      void call.closed.then(() => session.changes.notify());
      while (session.exit === undefined && !call.signal.aborted) await session.changes.next();
      if (session.exit !== undefined) call.reply({ exit: session.exit }, { fin: true });
    },
    ListSessions: (call, params) => {
      const id = params.int("id");
      params.finish();
      const sessions = id === undefined ? guest.sessions : [guest.session(id)];
      call.reply({ sessions: sessions.map((session) => session.describe()) }, { fin: true });
    },
  };
}

/** What the caller sends is standard input; his end closes it. */
async function feed(call: IncomingCall, session: MockSession): Promise<void> {
  try {
    for await (const frame of call) if (frame.kind === "data") await session.input.write(frame.bytes);
    session.input.end();
  } catch {
    // The caller left or the process ended: its input stays open, as with the real agent.
  }
}
