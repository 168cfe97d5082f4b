import { isUtf8 } from "node:buffer";
import { CaissonError } from "@caisson/contract";
import { findJsonMistake } from "./json-error.ts";

/** Deepest nesting of a JSON body. */
const MAX_DEPTH = 32;

/** Reads a JSON body strictly. Throws `invalid_request` that says where it breaks. */
export function parseJsonBody(bytes: Buffer): unknown {
  if (bytes.length === 0) throw malformed("The body is empty; this route takes a JSON object.");
  if (!isUtf8(bytes)) throw malformed("The body is not valid UTF-8.");
  const text = bytes.toString("utf8");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    const { position, line, column } = findJsonMistake(text);
    const found = position >= text.length ? "the end" : JSON.stringify(text[position]);
    throw malformed(`The body is not JSON: ${found} was not expected at position ${position} (line ${line}, column ${column}).`, {
      cause,
      detail: { position, line, column },
    });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw malformed("The body must be a JSON object.");
  check(value, "", MAX_DEPTH);
  return value;
}

/** Refuses what later steps would drop or choke on: deep nesting, and members that JavaScript gives a meaning. */
function check(value: unknown, path: string, depth: number): void {
  if (typeof value !== "object" || value === null) return;
  if (depth === 0) throw malformed(`The body is nested deeper than ${MAX_DEPTH} levels.`);
  for (const [key, member] of Object.entries(value)) {
    const at = path === "" ? key : `${path}.${key}`;
    if (key === "__proto__")
      throw malformed(`The field ${at} is not allowed.`, { errors: [{ path: at, message: "is not a known field" }] });
    check(member, at, depth - 1);
  }
}

function malformed(message: string, options: ConstructorParameters<typeof CaissonError>[2] = {}): CaissonError {
  return new CaissonError("invalid_request", message, { errors: [{ path: "", message }], ...options });
}
