import { CaissonError, isErrorCode } from "@caisson/contract";
import { protocolError } from "./frame.ts";
import { decodeMap, type WireMap } from "./messagepack-decode.ts";

/** Longest error message that is sent or kept, in characters. */
const MAX_MESSAGE = 4096;

/** The wire form of an error. */
export function toErrorMap(error: CaissonError): Record<string, unknown> {
  const map = { code: error.code, message: error.message.slice(0, MAX_MESSAGE) };
  return error.detail === undefined ? map : { ...map, detail: error.detail };
}

/** An error from the other side. A code we do not know becomes `internal` and is kept as `detail.wire_code`. */
export function readError(payload: Buffer): CaissonError {
  const map = decodeMap(payload);
  const { code, message, detail } = map;
  if (typeof code !== "string" || typeof message !== "string") throw protocolError("an error needs a code and a message");
  const options = isMap(detail) ? { detail } : {};
  const text = message.slice(0, MAX_MESSAGE);
  if (isErrorCode(code)) return new CaissonError(code, text, options);
  if (code === "no_such_process") return new CaissonError("process_not_found", text, options);
  return new CaissonError("internal", text, { detail: { ...options.detail, wire_code: code.slice(0, 64) } });
}

function isMap(value: unknown): value is WireMap {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
}
