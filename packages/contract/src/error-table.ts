/** How one error code behaves everywhere: HTTP, SDK, CLI and the docs page are derived from this. */
export interface ErrorEntry {
  /** HTTP status of the answer. */
  readonly status: number;
  /** Whether the same request may succeed later without a change. */
  readonly retryable: boolean;
  /** What it means, one sentence. */
  readonly title: string;
  /** What to do about it. */
  readonly remedy: string;
  /** Exit code of the CLI when this ends a command. */
  readonly exit: number;
}

/** Every error code of Caisson. */
export const ERROR_TABLE = {
  invalid_request: {
    status: 400,
    retryable: false,
    exit: 2,
    title: "The request is malformed.",
    remedy: "Correct the fields that `errors` names; unknown fields are refused.",
  },
  invalid_argument: {
    status: 400,
    retryable: false,
    exit: 2,
    title: "A value was refused inside the sandbox.",
    remedy: "Correct the value that the message names.",
  },
  unauthorized: {
    status: 401,
    retryable: false,
    exit: 4,
    title: "No valid API key came with the request.",
    remedy: "Send the key as `X-API-Key` or `Authorization: Bearer`; `caisson serve` prints where it is stored.",
  },
  forbidden: { status: 403, retryable: false, exit: 4, title: "This key may not do that.", remedy: "Use the admin key." },
  permission_denied: {
    status: 403,
    retryable: false,
    exit: 4,
    title: "The user inside the sandbox lacks the right.",
    remedy: "Name another `user`, or change the mode or owner first.",
  },
  not_found: {
    status: 404,
    retryable: false,
    exit: 3,
    title: "There is nothing at this address.",
    remedy: "Check the path against the API reference at /docs.",
  },
  method_not_allowed: {
    status: 405,
    retryable: false,
    exit: 2,
    title: "This address does not take this method.",
    remedy: "Use one of the methods that the `Allow` header names.",
  },
  sandbox_not_found: {
    status: 404,
    retryable: false,
    exit: 3,
    title: "No sandbox has this id.",
    remedy: "List the sandboxes; check the id.",
  },
  process_not_found: {
    status: 404,
    retryable: false,
    exit: 3,
    title: "The sandbox has no process with this id.",
    remedy: "List the processes of the sandbox.",
  },
  file_not_found: {
    status: 404,
    retryable: false,
    exit: 3,
    title: "There is no file at this path in the sandbox.",
    remedy: "Check the path; relative paths are refused.",
  },
  upload_not_found: {
    status: 404,
    retryable: false,
    exit: 3,
    title: "The sandbox has no upload with this id.",
    remedy: "It was finished, cancelled, or idle for too long: start a new one.",
  },
  watch_not_found: {
    status: 404,
    retryable: false,
    exit: 3,
    title: "The sandbox has no watch with this id.",
    remedy: "It was closed, or had no reader for too long: start a new one and read the folder again.",
  },
  context_not_found: {
    status: 404,
    retryable: false,
    exit: 3,
    title: "The sandbox has no code context with this id.",
    remedy: "Create one; a context ends with its interpreter.",
  },
  webhook_not_found: { status: 404, retryable: false, exit: 3, title: "No webhook has this id.", remedy: "List the webhooks." },
  image_not_found: {
    status: 404,
    retryable: false,
    exit: 3,
    title: "No image has this name on the worker, and it could not be pulled.",
    remedy: "Import it with `caisson image import`, or name a reference that a registry serves.",
  },
  provider_not_found: {
    status: 404,
    retryable: false,
    exit: 3,
    title: "No provider has this name here.",
    remedy: "List the providers; enable it in the configuration.",
  },
  worker_not_found: { status: 404, retryable: false, exit: 3, title: "No worker has this id.", remedy: "List the workers." },
  exec_timeout: {
    status: 408,
    retryable: false,
    exit: 124,
    title: "The command ran longer than its timeout; its whole process tree was killed.",
    remedy: "Raise `timeout`, or run the command in the background.",
  },
  conflict: {
    status: 409,
    retryable: true,
    exit: 5,
    title: "The resource changed meanwhile.",
    remedy: "Read it again and repeat the request.",
  },
  state_conflict: {
    status: 409,
    retryable: false,
    exit: 5,
    title: "The sandbox is in a state that does not allow this.",
    remedy: "Wait for the state that the message names.",
  },
  context_busy: {
    status: 409,
    retryable: true,
    exit: 5,
    title: "The code context runs other code.",
    remedy: "Wait, interrupt it, or create another context.",
  },
  digest_mismatch: {
    status: 422,
    retryable: false,
    exit: 1,
    title: "The bytes that arrived do not have the digest that was announced; nothing was changed.",
    remedy: "Send the file again.",
  },
  precondition_failed: {
    status: 412,
    retryable: false,
    exit: 5,
    title: "The file is not in the version that the request asked for.",
    remedy: "Read it again and repeat the request with its new ETag.",
  },
  range_not_satisfiable: {
    status: 416,
    retryable: false,
    exit: 2,
    title: "The file has no bytes in that range.",
    remedy: "Ask for a range within its size, which `Content-Range` names.",
  },
  idempotency_conflict: {
    status: 409,
    retryable: false,
    exit: 5,
    title: "This Idempotency-Key was used with another request.",
    remedy: "Use a new key for a new request.",
  },
  already_exists: {
    status: 409,
    retryable: false,
    exit: 5,
    title: "It is there already.",
    remedy: "Choose another name, or remove the old one first.",
  },
  lease_lost: {
    status: 409,
    retryable: false,
    exit: 5,
    title: "Another epoch owns this sandbox.",
    remedy: "Nothing: the newer owner goes on.",
  },
  worker_in_use: {
    status: 409,
    retryable: false,
    exit: 5,
    title: "The worker has sandboxes.",
    remedy: "Destroy those that `detail.sandbox_ids` names, drain it and wait, or remove it with `force`.",
  },
  image_in_use: { status: 409, retryable: false, exit: 5, title: "Sandboxes still use this image.", remedy: "Destroy them first." },
  sandbox_destroyed: { status: 410, retryable: false, exit: 3, title: "The sandbox has ended.", remedy: "Create a new one." },
  payload_too_large: {
    status: 413,
    retryable: false,
    exit: 2,
    title: "The body is larger than this route takes.",
    remedy: "Use the raw upload route, which has no limit.",
  },
  unsupported: {
    status: 422,
    retryable: false,
    exit: 6,
    title: "The chosen provider cannot do this on this machine.",
    remedy: "See `caisson doctor` for what works here and how to mend it, or choose another provider.",
  },
  resource_limit: {
    status: 429,
    retryable: true,
    exit: 7,
    title: "A configured limit is reached.",
    remedy: "Destroy what is not needed, or raise the limit in the configuration.",
  },
  resource_exhausted: {
    status: 429,
    retryable: true,
    exit: 7,
    title: "The sandbox is at one of its limits.",
    remedy: "End processes in it, or create it with higher limits.",
  },
  no_space: {
    status: 507,
    retryable: false,
    exit: 7,
    title: "No space is left for the sandbox's files.",
    remedy: "Remove files in it, or free space on the machine.",
  },
  not_a_directory: { status: 400, retryable: false, exit: 2, title: "A part of the path is not a directory.", remedy: "Check the path." },
  is_a_directory: {
    status: 400,
    retryable: false,
    exit: 2,
    title: "The path is a directory.",
    remedy: "Name a file, or pass `recursive`.",
  },
  not_empty: {
    status: 409,
    retryable: false,
    exit: 5,
    title: "The directory is not empty.",
    remedy: "Pass `recursive` to remove it with all it holds.",
  },
  no_such_user: {
    status: 422,
    retryable: false,
    exit: 6,
    title: "The sandbox has no such user, or cannot switch to it.",
    remedy: "Name a user of the image; without root on the host only the default user exists.",
  },
  connection_refused: {
    status: 502,
    retryable: true,
    exit: 1,
    title: "Nothing answered at that port in the sandbox.",
    remedy: "Start the server in the sandbox first.",
  },
  upstream_failed: {
    status: 502,
    retryable: true,
    exit: 1,
    title: "The server at that port broke off, or does not speak HTTP.",
    remedy: "Check the server in the sandbox; for other protocols use `caisson forward`.",
  },
  io_error: {
    status: 500,
    retryable: false,
    exit: 1,
    title: "An input or output operation failed in the sandbox.",
    remedy: "See the message.",
  },
  cancelled: {
    status: 499,
    retryable: true,
    exit: 130,
    title: "The caller went away or cancelled.",
    remedy: "Repeat the request if the result is wanted.",
  },
  deadline_exceeded: {
    status: 504,
    retryable: true,
    exit: 8,
    title: "The operation did not finish in time.",
    remedy: "Try again; if it persists see the server's log.",
  },
  internal: {
    status: 500,
    retryable: false,
    exit: 1,
    title: "Caisson failed.",
    remedy: "See the server's log for the request id, and report it.",
  },
  protocol_error: {
    status: 502,
    retryable: true,
    exit: 1,
    title: "The other side broke the link protocol.",
    remedy: "Check that the versions fit; a sandbox that does this should be destroyed.",
  },
  provider_failed: {
    status: 502,
    retryable: true,
    exit: 8,
    title: "The provider could not start the sandbox.",
    remedy: "See the message; run `caisson doctor`.",
  },
  provider_unavailable: {
    status: 503,
    retryable: true,
    exit: 8,
    title: "The provider does not work on this machine now.",
    remedy: "Run `caisson doctor` for the reason and the cure.",
  },
  worker_unavailable: {
    status: 503,
    retryable: true,
    exit: 8,
    title: "The worker of this sandbox cannot be reached.",
    remedy: "Wait; the sandbox is found again when the worker is back.",
  },
  no_capacity: {
    status: 503,
    retryable: true,
    exit: 8,
    title: "No worker has room for this sandbox now.",
    remedy: "Try again later, ask for less, or add a worker; `caisson workers ls` shows what each has left.",
  },
  database_unavailable: {
    status: 503,
    retryable: true,
    exit: 8,
    title: "The database cannot be reached.",
    remedy: "Try again; sandboxes live on meanwhile.",
  },
  agent_unreachable: {
    status: 503,
    retryable: true,
    exit: 8,
    title: "The guest agent of the sandbox does not answer.",
    remedy: "Try again; destroy the sandbox if it persists.",
  },
  server_unreachable: {
    status: 503,
    retryable: true,
    exit: 8,
    title: "No Caisson server answers at this address.",
    remedy: "Start it with `npm start` or `caisson serve`, or name another with `CAISSON_URL`.",
  },
  shutting_down: { status: 503, retryable: true, exit: 8, title: "The server is shutting down.", remedy: "Try again in a moment." },
} as const satisfies Record<string, ErrorEntry>;

/** A code of the table. */
export type ErrorCode = keyof typeof ERROR_TABLE;

/** Whether a string is a code of the table. */
export function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === "string" && Object.hasOwn(ERROR_TABLE, code);
}
