import { CaissonError, formatDuration, type Clock, type CodeError, type CodeOutcome, type CodeResult } from "@caisson/contract";
import type { AttachedProcess, Exit, Guest, ProcessOutput } from "@caisson/guest";
import { DRIVERS, type CodeRequest } from "./driver.ts";
import type { LiveContext } from "./code-contexts.ts";
import { FrameScanner, type Frame } from "./frame.ts";

/** Time that interrupted code has to stop before it is interrupted again, then killed with its context, in ms. */
const INTERRUPT_MS = 1_500;
/** Time that the rest of standard error is waited for when the code ended, in ms. */
const REST_MS = 1_000;

/** One run of code in a context. */
export interface CodeRun extends CodeRequest {
  readonly context: LiveContext;
  /** Fresh letters and digits, not to be guessed: its frames bear it. */
  readonly executionId: string;
  /** Counted from when the code begins, in ms; 0 for none. */
  readonly timeoutMs: number;
  /** How long the context may be busy with other code, in ms. */
  readonly waitMs: number;
  /** How long a silent sandbox is waited for, in ms. */
  readonly graceMs: number;
  readonly clock: Clock;
}

/** How a run of code ended. */
export type CodeEnd = Pick<CodeOutcome, "status" | "error" | "duration_ms" | "context_ended">;

/** What running code says, in order; `start` comes first and `end` last, exactly once each. */
export type CodeEvent =
  | { readonly type: "start" }
  | { readonly type: "output"; readonly stream: "stdout" | "stderr"; readonly bytes: Uint8Array }
  | { readonly type: "gap"; readonly stream: "stdout" | "stderr" }
  | { readonly type: "result"; readonly result: CodeResult; readonly size: number }
  | ({ readonly type: "end" } & CodeEnd);

/**
 * Runs code in a context: asks for a turn, which the context gives when it is idle, and takes it. A request whose turn
 * another took is refused by the driver, so code never runs after its caller has left. `signal` ends the waiting for a
 * turn; from then on the code is watched over to its end.
 */
export async function* runCode(guest: Guest, run: CodeRun, signal: AbortSignal): AsyncGenerator<CodeEvent, void, void> {
  const execution = new Execution(guest, run);
  await execution.open(signal);
  try {
    await execution.begin(signal);
    yield { type: "start" };
    yield* execution.events();
  } finally {
    execution.close();
  }
}

type StreamName = "stdout" | "stderr";

class Execution {
  readonly #guest: Guest;
  readonly #run: CodeRun;
  readonly #scanners: Readonly<Record<StreamName, FrameScanner>>;
  /** Where each stream is: before, in, or after what belongs to this run. */
  readonly #phase: Record<StreamName, "before" | "during" | "after"> = { stdout: "before", stderr: "before" };
  #attached: AttachedProcess | undefined;
  #reader: AsyncIterator<ProcessOutput> | undefined;
  #pending: Promise<IteratorResult<ProcessOutput>> | undefined;
  #queue: CodeEvent[] = [];
  /** What the driver said of the context; nobody listens to it any more once the code has begun, which can say it, too. */
  #frames: Frame[] | undefined = [];
  #exit: Exit | undefined;
  /** Whether the context had not said anything yet. */
  #silent = false;
  #ending: Extract<Frame, { type: "end" }> | undefined;

  constructor(guest: Guest, run: CodeRun) {
    this.#guest = guest;
    this.#run = run;
    this.#scanners = { stdout: new FrameScanner(run.executionId), stderr: new FrameScanner(run.executionId) };
  }

  /** Begins to read where the context's output stands now. */
  async open(signal: AbortSignal): Promise<void> {
    const { id } = this.#run.context;
    const { stdout, stderr, exit } = await this.#guest.session(id, { signal });
    this.#silent = stdout.end === 0;
    if (exit !== null) throw this.#gone(exit);
    // Without the signal, which would end the reading, too.
    this.#attached = await this.#guest.attach(id, { stdoutOffset: stdout.end, stderrOffset: stderr.end });
    this.#reader = this.#attached[Symbol.asyncIterator]();
  }

  close(): void {
    this.#attached?.detach();
    // A reader that waits for output hears of the end by that.
    this.#reader?.return?.().then(undefined, () => undefined);
  }

  /** Gets a turn and takes it. */
  async begin(signal: AbortSignal): Promise<void> {
    const { context, executionId, clock, waitMs } = this.#run;
    const driver = DRIVERS[context.language];
    const deadline = clock.monotonic() + waitMs;
    this.#send(driver.ask(executionId));
    let asked = true;
    for (;;) {
      const frame = this.#frames?.shift();
      if (frame?.type === "turn") {
        this.#send(driver.run(executionId, frame.turn, this.#run));
        asked = false;
      } else if (frame?.type === "stale") {
        this.#send(driver.ask(executionId));
        asked = true;
      } else if (frame?.type === "begin") {
        this.#frames = undefined;
        return;
      } else if (this.#exit !== undefined) throw this.#gone(this.#exit);
      else if ((await this.#read(deadline, asked ? signal : undefined)) === "late")
        throw new CaissonError("context_busy", `The context ${context.id} has run other code for ${Math.round(waitMs / 1000)} s.`, {
          detail: { context_id: context.id },
        });
    }
  }

  /** What the code says, to its end. */
  async *events(): AsyncGenerator<CodeEvent, void, void> {
    const { clock, timeoutMs } = this.#run;
    const begun = clock.monotonic();
    const limit = new Limit(this.#run, begun + (timeoutMs === 0 ? Infinity : timeoutMs));
    let restBy = Infinity;
    for (;;) {
      yield* this.#queue.splice(0);
      if (this.#exit !== undefined || (this.#ending !== undefined && (this.#phase.stderr === "after" || clock.monotonic() >= restBy)))
        break;
      if (this.#ending !== undefined && restBy === Infinity) restBy = clock.monotonic() + REST_MS;
      if ((await this.#read(Math.min(limit.at, restBy), undefined)) !== "late" || this.#ending !== undefined) continue;
      const { id } = this.#run.context;
      switch (limit.next()) {
        case "interrupt":
          await this.#guest.kill(id, { signal: "INT", scope: "group" });
          this.#sendEnd();
          break;
        case "kill":
          await this.#guest.kill(id, { signal: "KILL", scope: "tree" });
          break;
        case "give up":
          throw new CaissonError("agent_unreachable", "The sandbox did not report the end of the code after its timeout.");
      }
    }
    const duration = clock.monotonic() - begun;
    if (this.#ending?.exit_code !== undefined) yield exitCodeResult(this.#ending.exit_code);
    yield {
      type: "end",
      ...this.#outcome(limit.passed),
      duration_ms: Math.round(duration * 1000) / 1000,
      context_ended: this.#exit !== undefined,
    };
  }

  #outcome(timedOut: boolean): Pick<CodeEnd, "status" | "error"> {
    const { timeoutMs } = this.#run;
    if (timedOut) {
      const rest = this.#exit === undefined ? "It was interrupted." : "It did not stop when interrupted, so its context was killed.";
      const message = `The code ran longer than ${formatDuration(timeoutMs)}. ${rest}`;
      return { status: "timed_out", error: { name: "TimedOut", message, traceback: this.#ending?.error?.traceback ?? "" } };
    }
    if (this.#ending !== undefined) return { status: this.#ending.status ?? "ok", error: this.#ending.error ?? null };
    const message = `The context has ended with the code: ${describe(this.#exit)}.`;
    return { status: "error", error: { name: "ContextEnded", message, traceback: "" } satisfies CodeError };
  }

  /** Takes the next output in; `late` when there was none until `deadline`. */
  async #read(deadline: number, signal: AbortSignal | undefined): Promise<"read" | "late"> {
    this.#pending ??= this.#reader?.next();
    const next = await within(this.#pending, { clock: this.#run.clock, deadline, signal });
    if (next === undefined) return "late";
    this.#pending = undefined;
    if (next.done === true) throw new CaissonError("agent_unreachable", "The sandbox stopped reporting before the code ended.");
    this.#take(next.value);
    return "read";
  }

  #take(output: ProcessOutput): void {
    if (output.type === "exit") {
      this.#exit = output.exit;
      for (const stream of ["stdout", "stderr"] as const) this.#pieces(stream, this.#scanners[stream].flush());
    } else if (output.type === "gap") {
      if (this.#phase[output.stream] === "during") this.#queue.push({ type: "gap", stream: output.stream });
    } else this.#pieces(output.stream, this.#scanners[output.stream].push(output.bytes));
  }

  #pieces(stream: StreamName, pieces: ReturnType<FrameScanner["push"]>): void {
    for (const piece of pieces) {
      if (piece.type === "bytes") {
        if (this.#phase[stream] === "during") this.#queue.push({ type: "output", stream, bytes: piece.bytes });
        continue;
      }
      const { frame } = piece;
      if (frame.type === "begin" && this.#phase[stream] === "before") this.#phase[stream] = "during";
      if (frame.type === "end" && this.#phase[stream] === "during") this.#phase[stream] = "after";
      if (frame.type === "left") this.#sendEnd();
      else if (stream === "stderr") continue;
      else if (frame.type === "end") this.#ending = frame;
      else if (frame.type === "result") {
        const { main, formats, omitted } = frame;
        this.#queue.push({ type: "result", result: { is_main_result: main, formats, omitted }, size: piece.size });
      } else this.#frames?.push(frame);
    }
  }

  /** The error of a context that ended before the code began. */
  #gone(exit: Exit): CaissonError {
    const { id, language } = this.#run.context;
    if (!this.#silent || (exit.code !== 127 && exit.code !== 126)) return contextNotFound(id);
    const { needs } = DRIVERS[language];
    return new CaissonError("unsupported", `Code in ${language} needs ${needs}, which is not in this sandbox's image.`, {
      detail: { needs, remedy: `Use an image that has ${needs}, or install it in the sandbox.` },
    });
  }

  #sendEnd(): void {
    const line = DRIVERS[this.#run.context.language].end(this.#run.executionId);
    if (line !== undefined) this.#send(line);
  }

  #send(line: string): void {
    // What a context does not take is told by its end, or by the deadline; a line before it may have broken off.
    const bytes = Buffer.from(`\n${line}`, "utf8");
    this.#guest.writeInput(this.#run.context.id, slices(bytes)).catch(() => undefined);
  }
}

/** Bytes handed to a process at once. */
const SLICE = 65_536;

async function* slices(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += SLICE) yield bytes.subarray(at, at + SLICE);
}

/** The ladder that ends code which runs too long. */
class Limit {
  /** When the next step is due: monotonic, in ms. */
  at: number;
  /** Whether the first step was taken. */
  passed = false;
  // Twice: a program that a shell just starts misses the signal.
  #steps: readonly ("interrupt" | "kill" | "give up")[] = ["interrupt", "interrupt", "kill", "give up"];
  readonly #run: CodeRun;

  constructor(run: CodeRun, at: number) {
    this.#run = run;
    this.at = at;
  }

  next(): "interrupt" | "kill" | "give up" {
    const [step = "give up", ...rest] = this.#steps;
    this.#steps = rest;
    this.passed = true;
    this.at = this.#run.clock.monotonic() + (step === "interrupt" ? INTERRUPT_MS : this.#run.graceMs);
    return step;
  }
}

interface Patience {
  readonly clock: Clock;
  /** Monotonic, in ms. */
  readonly deadline: number;
  readonly signal: AbortSignal | undefined;
}

/** What a promise gives until a deadline, else undefined. The signal's reason is thrown. */
async function within<T>(promise: Promise<T> | undefined, { clock, deadline, signal }: Patience): Promise<T | undefined> {
  const given = Promise.withResolvers<T | undefined>();
  const abort = (): void => given.reject(signal?.reason as Error);
  if (signal?.aborted === true) abort();
  signal?.addEventListener("abort", abort, { once: true });
  const timer = Number.isFinite(deadline)
    ? clock.schedule(Math.max(0, deadline - clock.monotonic()), () => given.resolve(undefined))
    : undefined;
  promise?.then(given.resolve, given.reject);
  try {
    return await given.promise;
  } finally {
    timer?.cancel();
    signal?.removeEventListener("abort", abort);
  }
}

/** The result of shell code. */
function exitCodeResult(code: number): CodeEvent {
  const formats = { "text/plain": String(code), "application/json": { exit_code: code } };
  return { type: "result", result: { is_main_result: true, formats, omitted: [] }, size: 0 };
}

function describe(exit: Exit | undefined): string {
  if (exit?.signal === "KILL") return "it was killed, perhaps because the sandbox had no memory left";
  if (typeof exit?.signal === "string") return `signal ${exit.signal} ended it`;
  return `its interpreter ended with status ${exit?.code ?? "unknown"}`;
}

/** The error for an id that is no live context. */
export function contextNotFound(id: number): CaissonError {
  return new CaissonError("context_not_found", `There is no code context ${id} in this sandbox.`, { detail: { context_id: id } });
}
