import { spawn } from "node:child_process";
import { CaissonError, type Clock } from "@caisson/contract";
import { abortError } from "./deadline.ts";
import { systemCode } from "./file-error.ts";

const MAX_OUTPUT = 1024 * 1024;
const MAX_ERROR_TEXT = 16 * 1024;

/** A program to run to its end. */
export interface ProgramRun {
  readonly program: string;
  readonly args: readonly string[];
  /** Default: our own. */
  readonly env?: NodeJS.ProcessEnv;
  readonly clock: Clock;
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
  /** For messages: `pulling debian:12`. */
  readonly doing: string;
}

/** What it said; `status` is null when a signal ended it. */
export interface ProgramResult {
  readonly status: number | null;
  readonly stdout: string;
  /** The end of its standard error. */
  readonly stderr: string;
}

/** Runs a program by its arguments, never through a shell. With the deadline or the signal its whole group is killed. */
export function runProgram(run: ProgramRun): Promise<ProgramResult> {
  const { program, args, env, clock, deadlineMs, signal, doing } = run;
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(abortError(signal, doing));
    const child = spawn(program, args, { env: env ?? process.env, stdio: ["ignore", "pipe", "pipe"], detached: true });
    let stdout = "";
    let stderr = "";
    let ended: CaissonError | undefined;
    const kill = (error: CaissonError): void => {
      ended ??= error;
      try {
        if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
      } catch (failure) {
        // ESRCH: the group is gone already.
        if (systemCode(failure) !== "ESRCH") throw failure;
      }
    };
    const abort = (): void => kill(abortError(signal, doing));
    const timer = clock.schedule(deadlineMs, () =>
      kill(new CaissonError("deadline_exceeded", `Time was over after ${deadlineMs} ms: ${doing}.`)),
    );
    const release = (): void => {
      timer.cancel();
      signal.removeEventListener("abort", abort);
    };
    signal.addEventListener("abort", abort, { once: true });
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout = (stdout + text).slice(0, MAX_OUTPUT)));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr = (stderr + text).slice(-MAX_ERROR_TEXT)));
    child.once("error", (error) => {
      release();
      const missing = systemCode(error) === "ENOENT";
      reject(
        new CaissonError(
          missing ? "unsupported" : "internal",
          missing ? `${doing} needs the program ${program}, which is not installed.` : error.message,
          {
            cause: error,
            detail: { program },
          },
        ),
      );
    });
    child.once("close", (status) => {
      release();
      if (ended === undefined) resolve({ status, stdout, stderr });
      else reject(ended);
    });
  });
}
