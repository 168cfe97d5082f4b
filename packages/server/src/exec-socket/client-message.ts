import { CaissonError, execControlSchema, execOpeningSchema, type ExecControl, type ExecOpening } from "@caisson/contract";
import type { z } from "zod";
import { parseJsonBody } from "../http/json-body.ts";
import { toFieldErrors } from "../http/validation.ts";

/** The first message of a client. Throws `invalid_request` that says what is wrong with it. */
export function parseOpening(text: Buffer): ExecOpening {
  return parseMessage(text, execOpeningSchema, "The first message");
}

/** A later text message of a client. Throws `invalid_request` that says what is wrong with it. */
export function parseControl(text: Buffer): ExecControl {
  return parseMessage(text, execControlSchema, "The message");
}

/** A text message by its schema; `what` names it in the error. */
export function parseMessage<T>(text: Buffer, schema: z.ZodType<T>, what: string): T {
  const result = schema.safeParse(parseJsonBody(text));
  if (result.success) return result.data;
  const errors = toFieldErrors(result.error.issues);
  const [first] = errors;
  const why = first === undefined ? "is malformed" : first.path === "" ? first.message : `${first.path} ${first.message}`;
  throw new CaissonError("invalid_request", `${what} was refused: ${why}.`, { errors });
}
