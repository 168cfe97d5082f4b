import { recycleBytes, type ExecRecord } from "@caisson/contract";
import { exitCodeOf, type Exit, type ProcessOutput } from "@caisson/guest";
import { outputLine } from "./output-line.ts";
import { encodeBytes, Utf8Splitter } from "./utf8-splitter.ts";

type StreamName = "stdout" | "stderr";

/** Turns what a process says into records, in order; output, of which there may be much, into the finished bytes of its lines. */
export class OutputRecords {
  readonly #splitters: Readonly<Record<StreamName, Utf8Splitter>> = { stdout: new Utf8Splitter(), stderr: new Utf8Splitter() };

  /** Records of one thing said, whose bytes are not needed afterwards; none when it only began a character. */
  of(output: ProcessOutput): readonly (ExecRecord | Uint8Array)[] {
    switch (output.type) {
      case "output": {
        const piece = this.#splitters[output.stream].push(output.offset, output.bytes);
        const lines = piece === undefined ? [] : [outputLine(output.stream, piece.offset, piece.bytes)];
        recycleBytes(output.bytes);
        return lines;
      }
      case "gap":
        return [...this.#flush(output.stream), { type: "gap", stream: output.stream, from: output.from, to: output.to }];
      case "exit":
        return [...this.rest(), exitRecord(output.exit)];
      default:
        return output satisfies never;
    }
  }

  /** What is held back, at the end. */
  rest(): readonly ExecRecord[] {
    return (["stdout", "stderr"] as const).flatMap((stream) => this.#flush(stream));
  }

  /** The beginning of a character, which nothing completes any more. */
  #flush(stream: StreamName): ExecRecord[] {
    const piece = this.#splitters[stream].flush();
    return piece === undefined ? [] : [{ type: "output", stream, offset: piece.offset, ...encodeBytes(piece.bytes) }];
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
