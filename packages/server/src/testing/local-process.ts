import { spawn, type ChildProcess } from "node:child_process";
import { constants } from "node:os";
import { CaissonError } from "@caisson/contract";
import type { AttachedProcess, Exit, ProcessOutput, ProcessSpec, Session } from "@caisson/guest";

/** Bytes that wait for a reader before the writer is stopped. */
const WINDOW = 262_144;

/** A real process of this machine, spoken to as one in a sandbox; its output waits until somebody takes it. */
export class LocalProcess {
  readonly id: number;
  readonly #spec: ProcessSpec;
  readonly #child: ChildProcess;
  readonly #keep: "all" | "until-taken";
  #log: Extract<ProcessOutput, { type: "output" }>[] = [];
  readonly #bytes = { stdout: 0, stderr: 0 };
  #waiting = 0;
  #exit: Exit | null = null;
  #wake: (() => void)[] = [];
  #timedOut = false;
  readonly #startedAtMs = Date.now();
  readonly exited: Promise<void>;

  constructor(id: number, spec: ProcessSpec, keep: "all" | "until-taken", root: string) {
    this.id = id;
    this.#spec = spec;
    this.#keep = keep;
    const [program = "", ...args] = spec.argv ?? ["/bin/sh", "-c", spec.command ?? ""];
    this.#child = spawn(program, args, {
      cwd: spec.cwd ?? root,
      env: { PATH: process.env["PATH"], ...spec.env },
      stdio: [spec.stdin === true ? "pipe" : "ignore", "pipe", "pipe"],
      detached: true,
    });
    this.#child.stdin?.on("error", () => undefined);
    for (const stream of ["stdout", "stderr"] as const)
      this.#child[stream]?.on("data", (bytes: Buffer) => {
        this.#log.push({ type: "output", stream, offset: this.#bytes[stream], bytes });
        this.#bytes[stream] += bytes.length;
        this.#waiting += bytes.length;
        if (this.#keep === "until-taken" && this.#waiting > WINDOW) this.#child[stream]?.pause();
        this.#notify();
      });
    const timer =
      spec.timeoutMs === undefined
        ? undefined
        : setTimeout(() => {
            this.#timedOut = true;
            this.signal("KILL");
          }, spec.timeoutMs);
    this.exited = new Promise((resolve) => {
      this.#child.once("error", () => this.#end(127, null, resolve, timer));
      this.#child.once("close", (code, signal) => this.#end(code, signal, resolve, timer));
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  session(): Session {
    return {
      id: this.id,
      pid: this.pid,
      argv: this.#spec.argv ?? ["/bin/sh", "-c", this.#spec.command ?? ""],
      command: this.#spec.command ?? null,
      cwd: this.#spec.cwd ?? "/",
      user: this.#spec.user ?? "user",
      tag: this.#spec.tag ?? null,
      pty: false,
      startedAtMs: this.#startedAtMs,
      stdout: { start: 0, end: this.#bytes.stdout },
      stderr: { start: 0, end: this.#bytes.stderr },
      exit: this.#exit,
    };
  }

  /** Ends it, whether or not anybody takes its output. */
  async stop(): Promise<void> {
    this.signal("KILL");
    for (const stream of [this.#child.stdout, this.#child.stderr]) stream?.destroy();
    await this.exited;
  }

  signal(name: string): number {
    if (this.#exit !== null || this.#child.pid === undefined) return 0;
    const number = (constants.signals as Record<string, number>)[`SIG${name}`];
    if (number === undefined) throw new CaissonError("invalid_argument", `There is no signal ${name}.`);
    try {
      process.kill(-this.#child.pid, number);
    } catch {
      return 0; // it ended, and has not been told of yet
    }
    return 1;
  }

  async write(bytes: Uint8Array): Promise<void> {
    const { stdin } = this.#child;
    if (stdin === null || stdin.destroyed) throw new CaissonError("invalid_argument", "Standard input is closed.");
    await new Promise<void>((resolve, reject) => stdin.write(bytes, (error) => (error ? reject(error) : resolve())));
  }

  closeInput(): void {
    this.#child.stdin?.end();
  }

  attach(from: { stdoutOffset?: number; stderrOffset?: number; follow?: boolean } = {}): AttachedProcess {
    let detached = false;
    const starts = { stdout: from.stdoutOffset ?? 0, stderr: from.stderrOffset ?? 0 };
    const next = async (index: { at: number }): Promise<ProcessOutput | undefined> => {
      for (;;) {
        if (detached) return undefined;
        const item = this.#log[index.at];
        if (item !== undefined) {
          if (this.#keep === "all") index.at += 1;
          else this.#log.shift();
          this.#waiting -= item.bytes.length;
          if (this.#waiting < WINDOW / 2) for (const stream of [this.#child.stdout, this.#child.stderr]) stream?.resume();
          const skip = Math.max(0, starts[item.stream] - item.offset);
          if (skip >= item.bytes.length) continue;
          return { ...item, offset: item.offset + skip, bytes: item.bytes.subarray(skip) };
        }
        if (this.#exit !== null) return { type: "exit", exit: this.#exit };
        if (from.follow === false) return undefined;
        await new Promise<void>((resolve) => this.#wake.push(resolve));
      }
    };
    return {
      id: this.id,
      pid: this.pid,
      write: (bytes) => this.write(bytes),
      closeInput: () => this.closeInput(),
      detach: () => {
        detached = true;
        this.#notify();
      },
      async *[Symbol.asyncIterator]() {
        const index = { at: 0 };
        for (let output = await next(index); output !== undefined; output = await next(index)) {
          yield output;
          if (output.type === "exit") return;
        }
      },
    };
  }

  #end(code: number | null, signal: NodeJS.Signals | null, resolve: () => void, timer: NodeJS.Timeout | undefined): void {
    clearTimeout(timer);
    if (this.#exit !== null) return;
    const now = Date.now();
    this.#exit = {
      code,
      signal: signal === null ? null : signal.slice(3),
      timedOut: this.#timedOut,
      durationMs: now - this.#startedAtMs,
      startedAtMs: this.#startedAtMs,
      endedAtMs: now,
      stdoutBytes: this.#bytes.stdout,
      stderrBytes: this.#bytes.stderr,
    };
    this.#notify();
    resolve();
  }

  #notify(): void {
    const wake = this.#wake;
    this.#wake = [];
    for (const run of wake) run();
  }
}
