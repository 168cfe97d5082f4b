import { CaissonError, isCaissonError, STREAM_INPUT, type Channel, type ErrorCode } from "@caisson/contract";
import { Answer } from "./answer.ts";
import type { WatchOutput } from "./guest.ts";
import { readChange } from "./read-answer.ts";

/** The first answer of a call. */
export async function answered(channel: Channel, method: string): Promise<Answer> {
  return new Answer(await mapped(channel.reply), method);
}

/** Inside a sandbox "not found" is about a path, unless the caller knows better. */
export async function mapped<T>(promise: Promise<T>, missing: ErrorCode = "file_not_found"): Promise<T> {
  try {
    return await promise;
  } catch (error) {
    if (!isCaissonError(error, "not_found")) throw error;
    throw new CaissonError(missing, error.message, { cause: error, ...(error.detail && { detail: error.detail }) });
  }
}

/** Reads an answer; when it does not fit, the channel is left. */
export function checked<T>(channel: Channel, read: () => T): T {
  try {
    return read();
  } catch (error) {
    channel.cancel();
    throw error;
  }
}

/** The ids of a process. */
export function identity(answer: Answer): { readonly id: number; readonly pid: number } {
  return { id: answer.int("id"), pid: answer.int("pid") };
}

/** The bytes of a file; undefined length: to its end. */
export async function* fileBytes(channel: Channel, length: number | undefined): AsyncGenerator<Uint8Array, void, void> {
  let left = length ?? Number.POSITIVE_INFINITY;
  for await (const frame of channel) {
    if (frame.kind !== "data" || frame.stream !== STREAM_INPUT) throw broken("a file with something else in it");
    left -= frame.bytes.length;
    if (left < 0) throw broken("more bytes of a file than asked for");
    yield frame.bytes;
  }
}

/** What a watch says. */
export async function* watchOutput(channel: Channel): AsyncGenerator<WatchOutput, void, void> {
  for await (const frame of channel) {
    if (frame.kind === "data") throw broken("changes with something else among them");
    const event = new Answer(frame.event, "ReadWatch");
    const type = event.oneOf("type", ["changes", "gap"]);
    if (type === "changes") yield { type, changes: event.maps("changes").map(readChange) };
    else yield { type, from: event.int("from"), to: event.int("to", event.int("from")) };
  }
}

/** The error for an answer that does not fit the protocol. */
export function broken(what: string): CaissonError {
  return new CaissonError("protocol_error", `The guest agent answered wrongly: ${what}.`);
}
