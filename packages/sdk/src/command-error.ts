import { CaissonApiError } from "./api-error.ts";
import type { CommandResult } from "./command-result.ts";

/**
 * A command ended with another status than 0, and `check` was set. It is the command's result, too.
 *
 * ```ts
 * try {
 *   await sandbox.commands.run("make", { check: true });
 * } catch (error) {
 *   if (error instanceof CommandFailedError) console.error(error.exitCode, error.stderr);
 * }
 * ```
 */
export class CommandFailedError extends Error implements CommandResult {
  readonly processId: number;
  readonly exitCode: number;
  readonly signal: string | null;
  readonly durationMs: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly stdoutRaw: Uint8Array;
  readonly stderrRaw: Uint8Array;
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

/** A command ran longer than its `timeout`; its whole process tree was killed. `result` has what it wrote until then. */
export class CommandTimeoutError extends CaissonApiError {
  readonly result: CommandResult;

  constructor(result: CommandResult) {
    super("exec_timeout", `The command was killed after ${result.durationMs} ms because its timeout had passed.`, {
      detail: { process_id: result.processId },
    });
    this.name = "CommandTimeoutError";
    this.result = result;
  }
}
