import type { ExecRecord } from "@caisson/contract";
import { exitCodeOf, type Exit, type ProcessOutput } from "@caisson/guest";
import { Utf8Splitter, type EncodedPiece } from "./utf8-splitter.ts";

type StreamName = "stdout" | "stderr";

/** Turns what a process says into records, in order. */
export class OutputRecords {
  readonly #splitters: Readonly<Record<StreamName, Utf8Splitter>> = { stdout: new Utf8Splitter(), stderr: new Utf8Splitter() };

  /** Records of one thing said; none when it only began a character. */
  of(output: ProcessOutput): readonly ExecRecord[] {
    switch (output.type) {
      case "output":
        return record(output.stream, this.#splitters[output.stream].push(output.offset, output.bytes));
      case "gap":
        return [
          ...record(output.stream, this.#splitters[output.stream].flush()),
          { type: "gap", stream: output.stream, from: output.from, to: output.to },
        ];
      case "exit":
        return [...this.rest(), exitRecord(output.exit)];
      default:
        return output satisfies never;
    }
  }

  /** What is held back, at the end. */
  rest(): readonly ExecRecord[] {
    return (["stdout", "stderr"] as const).flatMap((stream) => record(stream, this.#splitters[stream].flush()));
  }
}

/** How a process ended, as the last record tells it. */
export function exitRecord(exit: Exit): ExecRecord & { readonly type: "exit" } {
  return {
    type: "exit",
    exit_code: exitCodeOf(exit),
    signal: exit.signal,
    duration_ms: exit.durationMs,
    timed_out: exit.timedOut,
    stdout_bytes: exit.stdoutBytes,
    stderr_bytes: exit.stderrBytes,
  };
}

function record(stream: StreamName, piece: EncodedPiece | undefined): ExecRecord[] {
  return piece === undefined ? [] : [{ type: "output", stream, ...piece }];
}
