import { CaissonApiError } from "./api-error.ts";
import { fromBase64 } from "./base64.ts";
import type { CommandEvent, OutputStream } from "./command-event.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** An event from its line; undefined for kinds that this version does not know. `error` lines are the caller's affair. */
export function toEvent(record: Readonly<Record<string, unknown>>): CommandEvent | undefined {
  switch (record.type) {
    case "start":
      return { type: "start", processId: count(record.process_id), pid: count(record.pid) };
    case "output": {
      const data = string(record.data);
      const bytes = record.encoding === "base64" ? fromBase64(data) : encoder.encode(data);
      if (bytes === undefined) throw malformed();
      return outputEvent(stream(record.stream), count(record.offset), bytes, record.encoding === "base64" ? undefined : data);
    }
    case "gap":
      return { type: "gap", stream: stream(record.stream), from: count(record.from), to: count(record.to) };
    case "exit":
      return {
        type: "exit",
        exitCode: count(record.exit_code),
        signal: record.signal === null ? null : string(record.signal),
        timedOut: record.timed_out === true,
        durationMs: count(record.duration_ms),
        stdoutBytes: count(record.stdout_bytes),
        stderrBytes: count(record.stderr_bytes),
      };
    default:
      return undefined;
  }
}

/** An `output` event. */
export function outputEvent(name: OutputStream, offset: number, bytes: Uint8Array, text: string = decoder.decode(bytes)): CommandEvent {
  return { type: "output", stream: name, offset, bytes, text };
}

function stream(value: unknown): OutputStream {
  if (value !== "stdout" && value !== "stderr") throw malformed();
  return value;
}

function string(value: unknown): string {
  if (typeof value !== "string") throw malformed();
  return value;
}

function count(value: unknown): number {
  if (typeof value !== "number" || !(value >= 0)) throw malformed();
  return value;
}

function malformed(): CaissonApiError {
  return new CaissonApiError("protocol_error", "The server sent a record of a command that does not fit the protocol.");
}
