import { CaissonApiError } from "./api-error.ts";

/** Longest line, in bytes: 1 MiB of output in its longest JSON form, and some. */
export const MAX_LINE = 8_388_608;

const NEWLINE = 10;

/**
 * Reads newline-delimited JSON objects, however the bytes are split. Throws `protocol_error` for a line that is too long, is
 * not UTF-8, or is not an object, and for a last line without its newline. Leaving the loop early cancels the stream.
 */
export async function* readNdjson(body: AsyncIterable<Uint8Array>, maxLine: number = MAX_LINE): AsyncGenerator<Record<string, unknown>> {
  let pending: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body) {
    let from = 0;
    for (;;) {
      const end = chunk.indexOf(NEWLINE, from);
      const piece = chunk.subarray(from, end < 0 ? chunk.length : end);
      length += piece.length;
      if (length > maxLine) throw new CaissonApiError("protocol_error", `The server sent a line of more than ${maxLine} bytes.`);
      if (piece.length > 0) pending.push(piece);
      if (end < 0) break;
      if (length > 0) yield parseLine(join(pending, length));
      pending = [];
      length = 0;
      from = end + 1;
    }
  }
  if (length > 0) throw new CaissonApiError("protocol_error", "The stream of the server ended within a line.");
}

function join(pieces: readonly Uint8Array[], length: number): Uint8Array {
  if (pieces.length === 1 && pieces[0] !== undefined) return pieces[0];
  const whole = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

const decoder = new TextDecoder("utf-8", { fatal: true });

function parseLine(line: Uint8Array): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(line));
  } catch (cause) {
    throw new CaissonApiError("protocol_error", "The server sent a line that is not JSON.", { cause });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new CaissonApiError("protocol_error", "The server sent a line that is not a JSON object.");
  }
  return value as Record<string, unknown>;
}
