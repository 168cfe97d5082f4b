import { CaissonError, type ErrorCode, type FieldError } from "@caisson/contract";
import type { FastifySchemaCompiler } from "fastify";
import { z } from "zod";
import { MALFORMED } from "./query-string.ts";

/** Most mistakes that one answer names. */
const MAX_ERRORS = 32;

/** Most characters of a path in an answer; names come from the caller. */
const MAX_PATH = 200;

/** What a malformed path parameter means: there is no such thing. */
const PARAM_ERRORS: Readonly<Record<string, { readonly code: ErrorCode; readonly message: string }>> = {
  id: { code: "sandbox_not_found", message: "There is no such sandbox: this is not a sandbox id." },
  process_id: { code: "process_not_found", message: "There is no such process: this is not a process id." },
  upload_id: { code: "upload_not_found", message: "There is no such upload: this is not an upload id." },
  worker_id: { code: "worker_not_found", message: "There is no such worker: this is not a worker id." },
  watch_id: { code: "watch_not_found", message: "There is no such watch: this is not a watch id." },
};

/** Checks every part of a request by its zod schema: nothing is coerced but digits of a query, nothing is dropped. */
export const validatorCompiler: FastifySchemaCompiler<z.ZodType> = ({ schema, httpPart }) => {
  const numeric = httpPart === "querystring" ? numericFields(schema) : [];
  return (data: unknown) => {
    const errors = httpPart === "querystring" ? [...malformed(data), ...numeric.flatMap((name) => digitsOnly(name, data))] : [];
    if (errors.length > 0) return { error: refusal(httpPart, errors) };
    // A body that is not there arrives as null; to routes whose fields are all optional it is an empty object.
    const result = z.safeParse(schema, data ?? {});
    if (result.success) return { value: result.data };
    return { error: refusal(httpPart, toFieldErrors(result.error.issues)) };
  };
};

function refusal(part: string | undefined, errors: readonly FieldError[]): CaissonError {
  const first = errors[0];
  if (part === "params") {
    const missing = PARAM_ERRORS[first?.path ?? ""];
    if (missing !== undefined) return new CaissonError(missing.code, missing.message);
  }
  const where = part === "querystring" ? "query" : part === "params" ? "path" : (part ?? "request");
  const what = first === undefined ? "is malformed" : first.path === "" ? first.message : `${first.path} ${first.message}`;
  return new CaissonError("invalid_request", `The ${where} was refused: ${what}.`, { errors: errors.slice(0, MAX_ERRORS) });
}

/** Mistakes that zod found, as the API words them. */
export function toFieldErrors(issues: readonly z.core.$ZodIssue[], prefix: readonly PropertyKey[] = []): FieldError[] {
  return issues.flatMap((issue): FieldError[] => {
    const path = [...prefix, ...issue.path];
    if (issue.code === "unrecognized_keys")
      return issue.keys.map((key) => ({ path: pathText([...path, key]), message: "is not a known field" }));
    return [{ path: pathText(path), message: issue.message }];
  });
}

function pathText(path: readonly PropertyKey[]): string {
  const text = path.map(String).join(".");
  return text.length <= MAX_PATH ? text : `${text.slice(0, MAX_PATH)}…`;
}

/** Names of the fields of a query that are numbers. */
function numericFields(schema: z.ZodType): string[] {
  if (!(schema instanceof z.ZodObject)) return [];
  return Object.entries(schema.shape as Record<string, z.ZodType>).flatMap(([name, field]) =>
    (field instanceof z.ZodOptional ? field.unwrap() : field) instanceof z.ZodNumber ? [name] : [],
  );
}

function malformed(data: unknown): FieldError[] {
  return Object.entries(data as Record<string, unknown>).flatMap(([path, value]) =>
    [value].flat().includes(MALFORMED) ? [{ path: pathText([path]), message: "is not valid percent-encoded UTF-8" }] : [],
  );
}

/** A coercing schema would read an empty string as 0 and `0x10` as 16. */
function digitsOnly(name: string, data: unknown): FieldError[] {
  const value = (data as Record<string, unknown>)[name];
  return value === undefined || value === MALFORMED || (typeof value === "string" && /^\d{1,16}$/.test(value))
    ? []
    : [{ path: name, message: "must be a whole number in decimal digits" }];
}
