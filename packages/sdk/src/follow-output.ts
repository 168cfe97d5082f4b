import { CaissonApiError, errorFromWire } from "./api-error.ts";
import type { CommandEvent, OutputStream } from "./command-event.ts";
import { outputEvent, toEvent } from "./exec-record.ts";
import { readNdjson } from "./ndjson.ts";
import { pause } from "./pause.ts";

/** Where the next byte of each stream is; undefined: wherever the server begins. */
export type OutputOffsets = Readonly<Partial<Record<OutputStream, number>>>;

/** Where the output of one command comes from. */
export interface OutputSource {
  /** The first stream. */
  readonly open: () => Promise<AsyncIterable<Uint8Array>>;
  /** Another stream of the same process, from offsets on. */
  readonly resume: (processId: number, from: OutputOffsets) => Promise<AsyncIterable<Uint8Array>>;
  /** Offsets that `open` begins at. */
  readonly from: OutputOffsets;
  readonly signal: AbortSignal | undefined;
  /** First pause before a broken stream is asked for again, in ms; it doubles. Default 100 */
  readonly backoffMs?: number;
}

/** Attempts without a new byte before a broken stream is given up; with the pauses between them a minute. */
const ATTEMPTS = 17;
const MAX_BACKOFF_MS = 5_000;
/** A stream that lasted this long before it broke counts as progress, in ms. */
const LASTED = 10_000;

/**
 * Follows a command to its end. When the connection breaks, it goes on by process id at the offsets reached, so that no byte
 * is lost or comes twice. Throws when the server says that it failed, and when it cannot be reached any more.
 */
export async function* followOutput(source: OutputSource): AsyncGenerator<CommandEvent, void, void> {
  const next: Partial<Record<OutputStream, number>> = { ...source.from };
  let processId: number | undefined;
  let failures = 0;
  let body: AsyncIterable<Uint8Array> | undefined;
  for (;;) {
    const begun = performance.now();
    try {
      body ??= processId === undefined ? await source.open() : await source.resume(processId, next);
      for await (const record of readNdjson(body)) {
        if (record.type === "error") throw errorFromWire(record);
        const event = toEvent(record);
        if (event === undefined) continue;
        if (event.type === "start") {
          if (processId !== undefined) continue; // said again by a resumed stream
          processId = event.processId;
        } else if (event.type === "output" || event.type === "gap") {
          const fresh = advance(next, event);
          if (fresh === undefined) continue;
          failures = 0;
          yield fresh;
          continue;
        }
        yield event;
        if (event.type === "exit") return;
      }
      throw new CaissonApiError("protocol_error", "The server's stream ended without telling how the command ended.");
    } catch (error) {
      if (source.signal?.aborted) throw source.signal.reason;
      if (processId === undefined || isFinal(error)) throw error;
      if (performance.now() - begun > LASTED) failures = 0;
      failures += 1;
      if (failures > ATTEMPTS) throw lost(error);
      body = undefined;
      await pause(Math.min(MAX_BACKOFF_MS, (source.backoffMs ?? 100) * 2 ** (failures - 1)), source.signal);
    }
  }
}

/** Moves the offset of a stream on; what was there already is cut away, and undefined is returned when nothing is left. */
function advance(
  next: Partial<Record<OutputStream, number>>,
  event: Extract<CommandEvent, { type: "output" | "gap" }>,
): CommandEvent | undefined {
  const expected = next[event.stream];
  if (event.type === "gap") {
    if (expected !== undefined && event.to <= expected) return undefined;
    next[event.stream] = event.to;
    return { ...event, from: Math.max(event.from, expected ?? event.from) };
  }
  const end = event.offset + event.bytes.length;
  if (expected === undefined || event.offset === expected) {
    next[event.stream] = end;
    return event;
  }
  if (event.offset > expected) {
    throw new CaissonApiError("protocol_error", `The server left out bytes ${expected} to ${event.offset} of ${event.stream}.`);
  }
  if (end <= expected) return undefined;
  next[event.stream] = end;
  return outputEvent(event.stream, expected, event.bytes.subarray(expected - event.offset));
}

/** Whether the server itself said that trying again is of no use. */
function isFinal(error: unknown): boolean {
  return error instanceof CaissonApiError && !error.retryable;
}

function lost(error: unknown): unknown {
  if (error instanceof CaissonApiError) return error;
  return new CaissonApiError("server_unreachable", "The connection broke and could not be made again; the command may still run.", {
    cause: error,
  });
}
