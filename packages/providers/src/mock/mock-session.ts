import type { Clock } from "@caisson/contract";
import { BytePipe } from "./byte-pipe.ts";
import { Changes } from "./changes.ts";
import { endsProcess } from "./mock-signal.ts";
import { OutputLog } from "./output-log.ts";
import { Killed, type Io, type ProcessControl } from "./shell-state.ts";

/** What a session is started with. */
export interface MockProcessSpec {
  readonly argv: readonly string[];
  readonly command: string | undefined;
  readonly cwd: string;
  readonly user: string;
  readonly stdin: boolean;
  readonly timeoutMs: number | undefined;
  readonly outputLimit: number;
  readonly onFull: "block" | "drop";
  readonly tag: string | undefined;
}

/** One process of a mock box: its streams, its logs and how it ended. */
export class MockSession implements ProcessControl {
  readonly id: number;
  readonly pid: number;
  readonly spec: MockProcessSpec;
  readonly input: BytePipe = new BytePipe();
  readonly changes: Changes = new Changes();
  readonly logs: readonly [OutputLog, OutputLog];
  readonly startedAtMs: number;
  /** The protocol's exit map, once it has ended. */
  exit: Readonly<Record<string, unknown>> | undefined;
  readonly #clock: Clock;
  readonly #started: number;
  readonly #controller = new AbortController();
  readonly #ignored = new Set<string>();
  readonly #pipes = new Set<BytePipe>();
  readonly #others: (pid: number, signal: string) => boolean;
  #timedOut = false;

  /** `others` signals another process of the box. */
  constructor(id: number, pid: number, spec: MockProcessSpec, clock: Clock, others: (pid: number, signal: string) => boolean) {
    this.id = id;
    this.pid = pid;
    this.spec = spec;
    this.#clock = clock;
    this.#others = others;
    this.startedAtMs = Math.floor(clock.now());
    this.#started = clock.monotonic();
    const log = (): OutputLog => new OutputLog(spec.outputLimit, spec.onFull, this.changes);
    this.logs = [log(), log()];
    if (!spec.stdin) this.input.end();
    this.track(this.input);
  }

  get killed(): AbortSignal {
    return this.#controller.signal;
  }

  track(pipe: BytePipe): void {
    this.#pipes.add(pipe);
    if (this.killed.aborted) pipe.break(this.killed.reason as Error);
  }

  ignore(signal: string): void {
    if (signal !== "KILL") this.#ignored.add(signal);
  }

  kill(pid: number, signal: string): boolean {
    return pid === this.pid ? this.signal(signal) : this.#others(pid, signal);
  }

  /** Delivers a signal; false when the process has ended. */
  signal(signal: string): boolean {
    if (this.exit !== undefined) return false;
    if (!endsProcess(signal) || this.#ignored.has(signal) || this.killed.aborted) return true;
    const reason = new Killed(signal);
    this.#controller.abort(reason);
    for (const pipe of this.#pipes) pipe.break(reason);
    this.changes.notify();
    return true;
  }

  /** Runs to the end; never rejects. */
  async run(program: (io: Io) => Promise<number>): Promise<void> {
    const timer =
      this.spec.timeoutMs === undefined
        ? undefined
        : this.#clock.schedule(this.spec.timeoutMs, () => {
            this.#timedOut = true;
            this.signal("KILL");
          });
    let code: number | null = null;
    let signal: string | null = null;
    try {
      code = await program({ stdin: this.input, stdout: this.#sink(0), stderr: this.#sink(1) });
    } catch (error) {
      // Anything but a kill is a fault of the mock itself: it shows as an abort, like a crash would.
      signal = error instanceof Killed ? error.signal : "ABRT";
    }
    timer?.cancel();
    this.input.leave();
    this.exit = {
      type: "exit",
      code,
      signal,
      timed_out: this.#timedOut,
      duration_ms: Math.floor(this.#clock.monotonic() - this.#started),
      started_at_ms: this.startedAtMs,
      ended_at_ms: Math.floor(this.#clock.now()),
      stdout_bytes: this.logs[0].end,
      stderr_bytes: this.logs[1].end,
    };
    this.changes.notify();
  }

  /** The protocol's session map. */
  describe(): Record<string, unknown> {
    const { argv, command, cwd, user, tag } = this.spec;
    const [stdout, stderr] = this.logs.map(({ start, end }) => ({ start, end }));
    const exit = this.exit;
    const told = { id: this.id, pid: this.pid, argv, command, cwd, user, tag, pty: false, started_at_ms: this.startedAtMs };
    return { ...told, stdout, stderr, exit };
  }

  #sink(which: 0 | 1): Io["stdout"] {
    return {
      write: async (bytes) => {
        await this.logs[which].append(bytes, this.killed);
        return true;
      },
    };
  }
}
