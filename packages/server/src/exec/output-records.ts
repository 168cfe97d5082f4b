import type { ExecRecord } from "@caisson/contract";
import type { ProcessOutput } from "@caisson/guest";
import { exitCodeOf } from "./exit-status.ts";
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
        return [
          ...this.rest(),
          {
            type: "exit",
            exit_code: exitCodeOf(output.exit),
            signal: output.exit.signal,
            duration_ms: output.exit.durationMs,
            timed_out: output.exit.timedOut,
            stdout_bytes: output.exit.stdoutBytes,
            stderr_bytes: output.exit.stderrBytes,
          },
        ];
      default:
        return output satisfies never;
    }
  }

  /** What is held back, at the end. */
  rest(): readonly ExecRecord[] {
    return (["stdout", "stderr"] as const).flatMap((stream) => record(stream, this.#splitters[stream].flush()));
  }
}

function record(stream: StreamName, piece: EncodedPiece | undefined): ExecRecord[] {
  return piece === undefined ? [] : [{ type: "output", stream, ...piece }];
}
