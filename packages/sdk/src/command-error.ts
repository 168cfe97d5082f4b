import { CaissonApiError } from "./api-error.ts";
import type { CommandResult } from "./command-result.ts";

/**
 * A command ended with another status than 0, and `check` was set. It is the command's result, too.
 *
 * ```ts
 * try {
 *   await sandbox.commands.run("ls /nowhere", { check: true });
 * } catch (error) {
 *   if (error instanceof CommandFailedError) console.error(error.exitCode, error.stderr);
 * }
 * ```
 */
export class CommandFailedError extends Error implements CommandResult {
  /** Id of the process in its sandbox. */
  readonly processId: number;
  /** Exit status; 128 + n when signal n ended it. */
  readonly exitCode: number;
  /** Name of the signal that ended it, such as `KILL`. */
  readonly signal: string | null;
  /** Run time in ms. */
  readonly durationMs: number;
  /** Standard output as text. */
  readonly stdout: string;
  /** Standard error as text. */
  readonly stderr: string;
  /** Standard output as it was written. */
  readonly stdoutRaw: Uint8Array;
  /** Standard error as it was written. */
  readonly stderrRaw: Uint8Array;
  /** Whether less is here than was written. */
  readonly truncated: boolean;

  constructor(result: CommandResult) {
    super(`The command ended with ${result.signal === null ? `status ${result.exitCode}` : `signal ${result.signal}`}.`);
    this.name = "CommandFailedError";
    this.processId = result.processId;
    this.exitCode = result.exitCode;
    this.signal = result.signal;
    this.durationMs = result.durationMs;
    this.stdout = result.stdout;
    this.stderr = result.stderr;
    this.stdoutRaw = result.stdoutRaw;
    this.stderrRaw = result.stderrRaw;
    this.truncated = result.truncated;
  }
}

/**
 * A command ran longer than its `timeout`; its whole process tree was killed. `result` has what it wrote until then.
 *
 * ```ts
 * try {
 *   await sandbox.commands.run("echo begun; sleep 60", { timeout: "500ms" });
 * } catch (error) {
 *   if (!(error instanceof CommandTimeoutError)) throw error;
 *   console.log(error.result.stdout); // begun
 * }
 * ```
 */
export class CommandTimeoutError extends CaissonApiError {
  /** What it wrote until it was killed. */
  readonly result: CommandResult;

  constructor(result: CommandResult) {
    super("exec_timeout", `The command was killed after ${result.durationMs} ms because its timeout had passed.`, {
      detail: { process_id: result.processId },
    });
    this.name = "CommandTimeoutError";
    this.result = result;
  }
}
