import { isUtf8 } from "node:buffer";
import { CaissonError } from "@caisson/contract";
import { brokenBound, type JsonBounds } from "./json-bounds.ts";
import { findJsonMistake } from "./json-error.ts";

/** Far more structure than any request has, and little enough to parse at once. */
const BOUNDS: JsonBounds = { depth: 32, parts: 20_000 };

/** Reads a JSON body strictly. Throws `invalid_request` that says where it breaks. */
export function parseJsonBody(bytes: Buffer): unknown {
  if (bytes.length === 0) throw malformed("The body is empty; this route takes a JSON object.");
  if (!isUtf8(bytes)) throw malformed("The body is not valid UTF-8.");
  const broken = brokenBound(bytes, BOUNDS);
  if (broken === "depth") throw malformed(`The body is nested deeper than ${BOUNDS.depth} levels.`);
  if (broken === "parts") throw malformed(`The body has more than ${BOUNDS.parts} parts.`);
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
  refusePrototypes(value, "");
  return value;
}

/** Refuses a member that JavaScript gives a meaning: later steps would drop it without a word. */
function refusePrototypes(value: unknown, path: string): void {
  if (typeof value !== "object" || value === null) return;
  for (const [key, member] of Object.entries(value)) {
    const at = path === "" ? key : `${path}.${key}`;
    if (key === "__proto__")
      throw malformed(`The field ${at} is not allowed.`, { errors: [{ path: at, message: "is not a known field" }] });
    refusePrototypes(member, at);
  }
}

function malformed(message: string, options: ConstructorParameters<typeof CaissonError>[2] = {}): CaissonError {
  return new CaissonError("invalid_request", message, { errors: [{ path: "", message }], ...options });
}
