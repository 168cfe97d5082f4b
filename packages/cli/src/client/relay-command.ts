import type { Commands, StreamOptions } from "@caisson/sdk";
import { CaissonError } from "@caisson/contract";
import { stdinIsPiped } from "../terminal/stdin.ts";
import { printJson, writeOut } from "../terminal/write-out.ts";

/** Exit code of a command that its timeout ended, as `timeout` of coreutils has it. */
const TIMED_OUT = 124;

/** What to do with what a command says. */
export interface RelayOptions extends StreamOptions {
  /** Gather it and answer with one JSON object, rather than passing it on. */
  readonly json: boolean;
  /** Which standard input is passed on: only one that was given, or a terminal's, too. Default: piped */
  readonly input?: "piped" | "any";
}

/**
 * Runs a command with this process's own input and output, byte for byte, at the pace of whoever reads them. Returns the
 * exit code: the command's, or 124 when its timeout ended it.
 */
export async function relayCommand(commands: Commands, command: readonly string[], options: RelayOptions): Promise<number> {
  const { json, input = "piped", ...rest } = options;
  const piped = stdinIsPiped() || (input === "any" && process.stdin.isTTY);
  const stdin = piped ? { stdin: process.stdin as AsyncIterable<Uint8Array> } : {};
  const kept = { stdout: [] as Uint8Array[], stderr: [] as Uint8Array[] };
  try {
    for await (const event of commands.stream(command, { ...rest, ...stdin })) {
      if (event.type === "output") {
        if (json) kept[event.stream].push(event.bytes);
        else await writeOut(event.stream, event.bytes);
      } else if (event.type === "gap") {
        throw new CaissonError("protocol_error", `Bytes ${event.from} to ${event.to} of ${event.stream} were dropped in the sandbox.`);
      } else if (event.type === "exit") {
        if (json) {
          printJson({
            exit_code: event.exitCode,
            signal: event.signal,
            timed_out: event.timedOut,
            duration_ms: event.durationMs,
            stdout: Buffer.concat(kept.stdout).toString(),
            stderr: Buffer.concat(kept.stderr).toString(),
          });
        }
        if (event.timedOut && !json) process.stderr.write("caisson: the command's timeout has passed; it and all it started were killed\n");
        return event.timedOut ? TIMED_OUT : event.exitCode;
      }
    }
  } finally {
    // An input that never ends must not keep this process alive.
    if (piped) process.stdin.destroy();
  }
  throw new CaissonError("protocol_error", "The command ended without a status.");
}
