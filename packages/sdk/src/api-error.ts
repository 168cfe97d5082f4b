import { CaissonError, ERROR_TABLE, isErrorCode, type CaissonErrorOptions, type ErrorCode } from "@caisson/contract";

/** Facts of a failed call besides its code. */
export interface ApiErrorOptions extends CaissonErrorOptions {
  /** HTTP status of the answer. Default: the one that belongs to the code. */
  readonly status?: number;
  readonly remedy?: string;
  readonly requestId?: string;
}

/**
 * Every failure that the SDK throws. Decide by `code`, never by text:
 *
 * ```ts
 * try {
 *   await sandbox.files.read("/home/user/settings.json");
 * } catch (error) {
 *   if (!(error instanceof CaissonApiError) || error.code !== "file_not_found") throw error;
 *   console.log(error.message, error.remedy);
 * }
 * ```
 */
export class CaissonApiError extends CaissonError {
  /** HTTP status of the answer, or the one that belongs to the code when there was no answer. */
  readonly status: number;
  /** What to do about it. */
  readonly remedy: string;
  /** Whether the same call may succeed later. */
  readonly retryable: boolean;
  /** Finds the call in the server's log. */
  readonly requestId: string | undefined;

  constructor(code: ErrorCode, message: string, options: ApiErrorOptions = {}) {
    super(code, message, options);
    this.name = "CaissonApiError";
    this.status = options.status ?? ERROR_TABLE[code].status;
    this.remedy = options.remedy ?? ERROR_TABLE[code].remedy;
    this.retryable = ERROR_TABLE[code].retryable;
    this.requestId = options.requestId;
  }
}

/** Largest error body that is read, in bytes. */
const MAX_PROBLEM = 1_048_576;

/** The error that a response with a failure status tells. */
export async function errorFromResponse(response: Response): Promise<CaissonApiError> {
  const text = await readBounded(response, MAX_PROBLEM).catch(() => ""); // the status alone still says something
  let wire: Record<string, unknown> = {};
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed === "object" && parsed !== null) wire = parsed as Record<string, unknown>;
  } catch {
    wire = {}; // not our server, or a proxy before it: the status decides
  }
  const retryAfter = Number(response.headers.get("retry-after"));
  return errorFromWire(wire, {
    status: response.status,
    requestId: response.headers.get("x-request-id") ?? undefined,
    retryAfter: Number.isFinite(retryAfter) && retryAfter > 0 ? retryAfter : undefined,
  });
}

/** The error in a problem document or in an `error` record of a stream. */
export function errorFromWire(
  wire: Readonly<Record<string, unknown>>,
  answer: { readonly status?: number | undefined; readonly requestId?: string | undefined; readonly retryAfter?: number | undefined } = {},
): CaissonApiError {
  const code = isErrorCode(wire.code) ? wire.code : codeOfStatus(answer.status);
  const message =
    text(wire.message) ??
    (answer.status === undefined ? ERROR_TABLE[code].title : `The server answered with HTTP status ${answer.status}.`);
  const requestId = text(wire.request_id) ?? answer.requestId;
  const remedy = text(wire.remedy);
  return new CaissonApiError(code, message, {
    ...(answer.status === undefined ? {} : { status: answer.status }),
    ...(requestId === undefined ? {} : { requestId }),
    ...(remedy === undefined ? {} : { remedy }),
    ...(answer.retryAfter === undefined ? {} : { retryAfter: answer.retryAfter }),
    ...(Array.isArray(wire.errors) ? { errors: wire.errors } : {}),
    ...(typeof wire.detail === "object" && wire.detail !== null ? { detail: wire.detail as Record<string, unknown> } : {}),
  });
}

const text = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);

/** What a status without our code means most likely. */
function codeOfStatus(status: number | undefined): ErrorCode {
  switch (status) {
    case 400:
      return "invalid_request";
    case 401:
      return "unauthorized";
    case 403:
      return "forbidden";
    case 404:
      return "not_found";
    case 409:
      return "conflict";
    case 410:
      return "sandbox_destroyed";
    case 412:
      return "precondition_failed";
    case 413:
      return "payload_too_large";
    case 422:
      return "unsupported";
    case 429:
      return "resource_limit";
    case 502:
    case 503:
      return "server_unreachable";
    case 504:
      return "deadline_exceeded";
    default:
      return "internal";
  }
}

async function readBounded(response: Response, limit: number): Promise<string> {
  const decoder = new TextDecoder();
  let result = "";
  let left = limit;
  for await (const chunk of response.body ?? []) {
    const bytes = chunk as Uint8Array;
    left -= bytes.byteLength;
    if (left < 0) break;
    result += decoder.decode(bytes, { stream: true });
  }
  return result + decoder.decode();
}
