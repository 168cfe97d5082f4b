import { ERROR_TABLE, isErrorCode, type ErrorCode, type ErrorEntry } from "./error-table.ts";

/** One mistake in a request: where and what. */
export interface FieldError {
  /** Path of the field, such as `metadata.team`; empty for the whole body. */
  readonly path: string;
  readonly message: string;
}

/** What may come with an error besides its code. */
export interface CaissonErrorOptions {
  readonly cause?: unknown;
  /** Facts for programs, such as `{state: "paused"}`. */
  readonly detail?: Readonly<Record<string, unknown>>;
  readonly errors?: readonly FieldError[];
  /** Seconds after which a retry makes sense. */
  readonly retryAfter?: number;
  /** The call never left: nobody else heard of it. */
  readonly unsent?: true;
}

/** The wire form of an error: RFC 9457 problem details with our code. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly code: ErrorCode;
  /** What happened, for people. */
  readonly message: string;
  /** What to do about it. */
  readonly remedy: string;
  readonly retryable: boolean;
  readonly errors?: readonly FieldError[];
  readonly detail?: Readonly<Record<string, unknown>>;
  readonly request_id?: string;
}

/** Every error that Caisson throws. Its `code` decides what happens; nothing matches on text. */
export class CaissonError extends Error {
  readonly code: ErrorCode;
  readonly detail: Readonly<Record<string, unknown>> | undefined;
  readonly errors: readonly FieldError[] | undefined;
  readonly retryAfter: number | undefined;
  /** Whether the call never left. It has no wire form: the other side of a link cannot say it of itself. */
  readonly unsent: boolean;

  constructor(code: ErrorCode, message: string, options: CaissonErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "CaissonError";
    this.code = code;
    this.detail = options.detail;
    this.errors = options.errors;
    this.retryAfter = options.retryAfter;
    this.unsent = options.unsent ?? false;
  }

  /** The table's entry for this code. */
  get entry(): ErrorEntry {
    return ERROR_TABLE[this.code];
  }
}

/** Whether a value is a CaissonError, of one of the codes when given. */
export function isCaissonError(error: unknown, ...codes: ErrorCode[]): error is CaissonError {
  return error instanceof CaissonError && (codes.length === 0 || codes.includes(error.code));
}

/** Anything thrown as a CaissonError; what is not one becomes `internal` with its cause kept. */
export function toCaissonError(error: unknown): CaissonError {
  if (error instanceof CaissonError) return error;
  if (error instanceof Error && error.name === "AbortError")
    return new CaissonError("cancelled", "The operation was cancelled.", { cause: error });
  return new CaissonError("internal", error instanceof Error ? error.message : String(error), { cause: error });
}

/** The wire form of an error. */
export function toProblem(error: CaissonError, requestId?: string): Problem {
  const entry = error.entry;
  return {
    type: `urn:caisson:error:${error.code}`,
    title: entry.title,
    status: entry.status,
    code: error.code,
    message: error.message,
    // What helps in this case is worth more than what helps in general.
    remedy: typeof error.detail?.["remedy"] === "string" ? error.detail["remedy"] : entry.remedy,
    retryable: entry.retryable,
    ...(error.errors === undefined ? {} : { errors: error.errors }),
    ...(error.detail === undefined ? {} : { detail: error.detail }),
    ...(requestId === undefined ? {} : { request_id: requestId }),
  };
}

/** An error read back from its wire form (HTTP or link); an unknown code becomes `internal`. */
export function fromWire(wire: { code?: unknown; message?: unknown; detail?: unknown; errors?: unknown }): CaissonError {
  const code: ErrorCode = isErrorCode(wire.code) ? wire.code : "internal";
  const message = typeof wire.message === "string" ? wire.message : ERROR_TABLE[code].title;
  const options: { detail?: Record<string, unknown>; errors?: FieldError[] } = {};
  if (typeof wire.detail === "object" && wire.detail !== null) options.detail = wire.detail as Record<string, unknown>;
  if (Array.isArray(wire.errors)) options.errors = wire.errors as FieldError[];
  return new CaissonError(code, message, options);
}
