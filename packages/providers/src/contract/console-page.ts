import type { ConsoleChunk, ConsoleRange } from "@caisson/contract";

/** Most bytes that are read of a console at once. */
export const CONSOLE_READ_BYTES = 1_048_576;

/** What a box wrote to its console, as bytes. */
export interface ConsoleBytes {
  readonly size: number;
  /** Bytes from an offset on; fewer at the end. */
  read(offset: number, length: number): Uint8Array;
}

/**
 * Lines of a console. Of the last ones, one without its line break counts; of those after an offset it does not, since more of
 * it may come, unless it is longer than what is read at once. An offset beyond the end is one of a console that was cut:
 * reading begins anew.
 */
export function consolePage(console: ConsoleBytes, range: ConsoleRange): ConsoleChunk {
  if ("lines" in range) {
    const from = Math.max(0, console.size - CONSOLE_READ_BYTES);
    const lines = decode(console.read(from, console.size - from));
    if (lines.at(-1) === "") lines.pop();
    // What was begun before the piece that was read is not whole.
    if (from > 0) lines.shift();
    return {
      lines: range.lines === 0 ? [] : lines.slice(-range.lines),
      end: console.size,
      truncated: from > 0 && lines.length < range.lines,
    };
  }
  const truncated = range.after > console.size;
  const from = truncated ? 0 : range.after;
  const bytes = console.read(from, Math.min(CONSOLE_READ_BYTES, console.size - from));
  const lines: string[] = [];
  let at = 0;
  while (lines.length < range.limit) {
    const end = bytes.indexOf(NEWLINE, at);
    if (end < 0) {
      if (at === 0 && bytes.length === CONSOLE_READ_BYTES) {
        lines.push(...decode(bytes));
        at = bytes.length;
      }
      break;
    }
    lines.push(...decode(bytes.subarray(at, end)));
    at = end + 1;
  }
  return { lines, end: from + at, truncated };
}

const NEWLINE = 10;

function decode(bytes: Uint8Array): string[] {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8").split("\n");
}
