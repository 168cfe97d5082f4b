import { CaissonError, ERROR_TABLE, toCaissonError, toProblem, type ErrorCode } from "@caisson/contract";
import type { FastifyReply, FastifyRequest } from "fastify";

/** Media type of errors. */
export const PROBLEM_TYPE = "application/problem+json; charset=utf-8";

/** Seconds after which a retry makes sense where the error does not say. */
const RETRY_AFTER_S = 1;

/** Errors of the HTTP framework by its code; every other one with a 4xx status is `invalid_request`. */
const FRAMEWORK_ERRORS: Readonly<Record<string, { readonly code: ErrorCode; readonly message: string; readonly status?: number }>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: { code: "payload_too_large", message: "The body is larger than this route takes." },
  FST_ERR_CTP_INVALID_MEDIA_TYPE: {
    code: "invalid_request",
    message: "The Content-Type of the body is not one that this route takes; JSON routes take application/json.",
    status: 415,
  },
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: { code: "invalid_request", message: "The body is not as long as Content-Length says." },
  FST_ERR_BAD_URL: { code: "invalid_request", message: "The path is not validly percent-encoded." },
  FST_ERR_MAX_PARAM_LENGTH: { code: "not_found", message: "There is nothing at this address." },
};

/** An error ready for the wire: what is not meant for callers has been replaced; the original is its cause. */
export interface WireError {
  readonly error: CaissonError;
  /** Status where it differs from the table's. */
  readonly status: number;
}

/** Anything thrown, as it may be shown to a caller. */
export function toWireError(thrown: unknown): WireError {
  if (thrown instanceof CaissonError) return { error: hideInternals(thrown), status: thrown.entry.status };
  const { code, statusCode } = (typeof thrown === "object" && thrown !== null ? thrown : {}) as { code?: unknown; statusCode?: unknown };
  const known = typeof code === "string" ? FRAMEWORK_ERRORS[code] : undefined;
  if (known !== undefined)
    return {
      error: new CaissonError(known.code, known.message, { cause: thrown }),
      status: known.status ?? ERROR_TABLE[known.code].status,
    };
  if (typeof statusCode === "number" && statusCode >= 400 && statusCode < 500)
    return { error: new CaissonError("invalid_request", "The request could not be read.", { cause: thrown }), status: 400 };
  const error = hideInternals(toCaissonError(thrown));
  return { error, status: error.entry.status };
}

/** What failed inside is for the log; a caller gets the table's words. */
function hideInternals(error: CaissonError): CaissonError {
  if (error.code !== "internal") return error;
  return new CaissonError("internal", ERROR_TABLE.internal.title, { cause: error });
}

/** Answers with an error. */
export function sendProblem(request: FastifyRequest, reply: FastifyReply, thrown: unknown): void {
  const wire = toWireError(thrown);
  const { error } = wire;
  // A status that was set before the error came is the more exact one.
  const status = reply.statusCode >= 400 ? reply.statusCode : wire.status;
  request.scope.failure = error;
  if (error.code === "internal") request.log.error({ err: error.cause ?? error }, "request failed");
  if (reply.raw.headersSent || reply.raw.destroyed) {
    // Part of an answer is on its way: only breaking the connection tells the client that it is not whole.
    reply.hijack();
    reply.raw.destroy();
    return;
  }
  if (status === 401) reply.header("www-authenticate", 'Bearer realm="caisson"');
  if (error.retryAfter !== undefined || status === 429 || status === 503)
    reply.header("retry-after", Math.max(1, Math.ceil(error.retryAfter ?? RETRY_AFTER_S)));
  const problem = { ...toProblem(error, request.scope.id), status };
  void reply.code(status).header("content-type", PROBLEM_TYPE).send(JSON.stringify(problem));
}
