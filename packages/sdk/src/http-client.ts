import { errorFromResponse, CaissonApiError } from "./api-error.ts";
import type { CallOptions } from "./call-options.ts";
import { DirectRoute, UnreachableWorkers, type Direct } from "./direct-route.ts";
import { neverSent } from "./never-sent.ts";
import { pause } from "./pause.ts";

/** What Node.js says of a certificate whose authority it does not know. */
const UNTRUSTED: ReadonlySet<string> = new Set([
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
]);
const TRUST =
  "The server's certificate is of no authority that is trusted here: name a PEM file with that authority in NODE_EXTRA_CA_CERTS.";

/** Values of a query; undefined ones are left out. */
export type Query = Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;

/** What an upload may be made of. */
export type Content = string | Uint8Array | ReadableStream<Uint8Array> | AsyncIterable<Uint8Array>;

/** One request. */
export interface HttpRequest extends CallOptions {
  readonly method: "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** Path below `/api/v1`, encoded. */
  readonly path: string;
  readonly query?: Query;
  /** JSON body. */
  readonly json?: unknown;
  /** Raw body. */
  readonly content?: Content;
  /** Body of several files. */
  readonly form?: FormData;
  /** Media type of the raw body. Default: `application/octet-stream` */
  readonly contentType?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Whether it may be sent again when the connection broke before an answer. Default: for GET, HEAD and DELETE. */
  readonly idempotent?: boolean;
}

/** Where the server is and who calls. */
export interface HttpTarget {
  readonly url: string;
  readonly apiKey: string | undefined;
  readonly adminApiKey: string | undefined;
  readonly token: string | undefined;
  readonly fetch: typeof fetch;
  readonly timeoutMs: number;
  /** Whether data may go to workers directly. */
  readonly direct: boolean;
}

/** Times that a request is sent again when no answer came. */
const RESENDS = 2;

/**
 * Whether a request's body may be a stream. Browsers stream over HTTP/2 alone; what is streamed elsewhere they gather first, in
 * a blob that they may keep on disk.
 */
export const STREAMS_REQUESTS: boolean = !("document" in globalThis || "WorkerGlobalScope" in globalThis);

/** Sends requests: keys, deadlines, errors. */
export class HttpClient {
  readonly #target: HttpTarget;
  readonly #unreachable = new UnreachableWorkers();
  readonly #direct: DirectRoute | undefined;

  /** `direct` is the way to a worker for what it serves itself; everything else goes to the server. */
  constructor(target: HttpTarget, direct?: DirectRoute) {
    this.#target = target;
    this.#direct = direct;
  }

  /**
   * The same client for what is done inside one sandbox: it goes to the sandbox's worker directly where that can be reached.
   *
   * ```ts
   * const http = client.http.forSandbox(sandbox.id, sandbox.info.worker_id);
   * await http.bytes({ method: "GET", path: `/sandboxes/${sandbox.id}/files`, query: { path: "/etc/passwd" } });
   * ```
   */
  forSandbox(sandboxId: string, workerId: string): HttpClient {
    const { direct, token, fetch } = this.#target;
    // The worker inside the server has no other way; and who brings a token of his own wants to do with it alone.
    if (!direct || token !== undefined || workerId === LOCAL_WORKER) return this;
    return new HttpClient(this.#target, new DirectRoute({ http: this, fetch, sandboxId, workerId, unreachable: this.#unreachable }));
  }

  /** The way to the worker, where there may be one. */
  get direct(): DirectRoute | undefined {
    return this.#direct;
  }

  /** Address of the server. */
  get url(): string {
    return this.#target.url;
  }

  /**
   * The token that the client was made with.
   *
   * ```ts
   * console.log(client.http.token === undefined ? "by key" : "by token");
   * ```
   */
  get token(): string | undefined {
    return this.#target.token;
  }

  /**
   * The JSON answer.
   *
   * ```ts
   * const { status } = await client.http.json<{ status: string }>({ method: "GET", path: "/health" });
   * ```
   */
  async json<T>(request: HttpRequest): Promise<T> {
    return this.#answer(request, async (response) => (response.status === 204 ? undefined : await response.json()) as T);
  }

  /**
   * The bytes of the answer, all of them.
   *
   * ```ts
   * const path = `/sandboxes/${sandbox.id}/files`;
   * const bytes = await client.http.bytes({ method: "GET", path, query: { path: "/etc/passwd" } });
   * ```
   */
  async bytes(request: HttpRequest): Promise<Uint8Array> {
    return this.#answer(request, async (response) => new Uint8Array(await response.arrayBuffer()));
  }

  /**
   * The answer as a stream. The deadline ends when it begins.
   *
   * ```ts
   * const path = `/sandboxes/${sandbox.id}/files`;
   * const { body, headers } = await client.http.stream({ method: "GET", path, query: { path: "/etc/passwd" } });
   * for await (const chunk of body) process.stdout.write(chunk);
   * ```
   */
  async stream(request: HttpRequest): Promise<{ readonly body: ReadableStream<Uint8Array>; readonly headers: Headers }> {
    const { response, deadline, direct } = await this.#send(request);
    deadline.clear();
    const body = (response.body ?? new Blob([]).stream()) as ReadableStream<Uint8Array>;
    return { body: this.#explained(body, request, deadline, direct), headers: response.headers };
  }

  /** The same stream, whose failures are ours. */
  #explained(
    body: ReadableStream<Uint8Array>,
    request: HttpRequest,
    deadline: Deadline,
    direct: Direct | undefined,
  ): ReadableStream<Uint8Array> {
    const reader = body.getReader();
    return new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          try {
            const { done, value } = await reader.read();
            if (done) controller.close();
            else controller.enqueue(value);
          } catch (error) {
            // Whoever goes on where this broke off takes the other way.
            if (direct !== undefined && request.signal?.aborted !== true) this.#direct?.lost();
            controller.error(this.#explain(error, request, deadline, direct));
          }
        },
        cancel: (reason) => reader.cancel(reason),
      },
      { highWaterMark: 0 },
    );
  }

  async #answer<T>(request: HttpRequest, read: (response: Response) => Promise<T>): Promise<T> {
    const { response, deadline, direct } = await this.#send(request);
    try {
      return await read(response);
    } catch (error) {
      if (direct !== undefined && request.signal?.aborted !== true) this.#direct?.lost();
      throw this.#explain(error, request, deadline, direct);
    } finally {
      deadline.clear();
    }
  }

  async #send(request: HttpRequest): Promise<Sent> {
    const repeatable = request.idempotent ?? (request.method === "GET" || request.method === "HEAD" || request.method === "DELETE");
    const direct = await this.#direct?.for(request, isWhole(request) && (repeatable || STREAMS_REQUESTS));
    const sent = direct && (await this.#sendDirectly(request, direct, repeatable));
    if (sent !== undefined) return sent;
    for (let attempt = 0; ; attempt += 1) {
      const deadline = new Deadline(request.timeoutMs ?? this.#target.timeoutMs, request.signal);
      try {
        const response = await this.#target.fetch(this.#address(request, undefined), await this.#init(request, deadline.signal, undefined));
        if (response.ok) return { response, deadline, direct: undefined };
        const error = await errorFromResponse(response);
        throw error;
      } catch (error) {
        deadline.clear();
        const explained = this.#explain(error, request, deadline, undefined);
        const lost = explained instanceof CaissonApiError && explained.code === "server_unreachable" && !(error instanceof CaissonApiError);
        if (!lost || !repeatable || attempt >= RESENDS) throw explained;
        await pause(100 * 2 ** attempt, request.signal);
      }
    }
  }

  /**
   * Sends a request to the worker. Undefined when it must go through the control plane instead: the worker refused it before
   * it did anything, or never saw it, or sending it twice does no harm.
   */
  async #sendDirectly(request: HttpRequest, direct: Direct, repeatable: boolean): Promise<Sent | undefined> {
    const deadline = new Deadline(request.timeoutMs ?? this.#target.timeoutMs, request.signal);
    try {
      const response = await this.#target.fetch(this.#address(request, direct), await this.#init(request, deadline.signal, direct));
      this.#direct?.heard();
      if (response.ok) return { response, deadline, direct };
      const error = await errorFromResponse(response);
      const untouched = error.detail?.["ask"] === "control_plane";
      if (untouched) this.#direct?.refused();
      // No answer of a worker: of something that stands before it.
      const lost = error.code === "server_unreachable" || error.code === "shutting_down";
      if (lost) this.#direct?.lost();
      if (isWhole(request) && (untouched || (lost && repeatable))) {
        deadline.clear();
        return undefined;
      }
      throw error;
    } catch (error) {
      deadline.clear();
      const explained = this.#explain(error, request, deadline, direct);
      if (error instanceof CaissonApiError || request.signal?.aborted === true || deadline.passed) throw explained;
      this.#direct?.lost();
      if (isWhole(request) && (repeatable || neverSent(error))) return undefined;
      throw explained;
    }
  }

  #address(request: HttpRequest, direct: Direct | undefined): string {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(request.query ?? {})) {
      for (const one of Array.isArray(value) ? (value as readonly string[]) : [value])
        if (one !== undefined) query.append(name, String(one));
    }
    if (this.#target.token !== undefined) query.append("token", this.#target.token);
    const text = query.toString();
    return `${direct?.url ?? this.#target.url}/api/v1${request.path}${text === "" ? "" : `?${text}`}`;
  }

  async #init(request: HttpRequest, signal: AbortSignal, direct: Direct | undefined): Promise<RequestInit> {
    const headers: Record<string, string> = { accept: "application/json", ...request.headers };
    // A worker gets the token for its sandbox, never a key.
    if (direct !== undefined) headers["authorization"] = `Bearer ${direct.token}`;
    else {
      if (this.#target.apiKey !== undefined) headers["x-api-key"] = this.#target.apiKey;
      if (this.#target.adminApiKey !== undefined) headers["x-admin-api-key"] = this.#target.adminApiKey;
    }
    const init: RequestInit & { duplex?: "half" } = { method: request.method, headers, signal };
    // A worker says itself where it is; where else a client connects to is not for it to say.
    if (direct !== undefined) init.redirect = "error";
    if (request.json !== undefined) {
      headers["content-type"] = "application/json";
      init.body = JSON.stringify(request.json);
    } else if (request.form !== undefined) {
      init.body = request.form;
    } else if (request.content !== undefined) {
      headers["content-type"] = request.contentType ?? "application/octet-stream";
      init.body = (await toBody(request.content)) as NonNullable<RequestInit["body"]>;
      init.duplex = "half"; // streams are sent while they are read
    }
    return init;
  }

  #explain(error: unknown, request: HttpRequest, deadline: Deadline, direct: Direct | undefined): unknown {
    if (error instanceof CaissonApiError) return error;
    if (request.signal?.aborted) return request.signal.reason;
    if (deadline.passed) {
      const message = `${request.method} ${request.path} was not answered within ${deadline.ms} ms.`;
      return new CaissonApiError("deadline_exceeded", message, { cause: error });
    }
    const reason = reasonOf(error);
    return new CaissonApiError(
      "server_unreachable",
      `No answer from ${direct?.url ?? this.#target.url}${reason === undefined ? "" : `: ${reason}`}.`,
      { cause: error, ...(reason !== undefined && UNTRUSTED.has(reason) ? { remedy: TRUST } : {}) },
    );
  }
}

/** An answer that has begun. */
interface Sent {
  readonly response: Response;
  readonly deadline: Deadline;
  /** The worker that answered; undefined when it was the server. */
  readonly direct: Direct | undefined;
}

/** Id of the worker inside a server. */
const LOCAL_WORKER = "local";

/** Whether a request's body can be sent again: a stream is gone once it was read. */
function isWhole({ content }: HttpRequest): boolean {
  return content === undefined || typeof content === "string" || content instanceof Uint8Array;
}

/** Why a fetch failed, as far as the platform tells: `ECONNREFUSED`. */
function reasonOf(error: unknown): string | undefined {
  const cause: unknown = error instanceof Error ? (error.cause ?? error) : error;
  const code = (cause as { code?: unknown } | undefined)?.code;
  return typeof code === "string" ? code : cause instanceof Error ? cause.message : undefined;
}

/** A time limit together with the caller's own signal. */
class Deadline {
  readonly ms: number;
  readonly signal: AbortSignal;
  passed = false;
  readonly #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(ms: number, signal: AbortSignal | undefined) {
    this.ms = ms;
    const controller = new AbortController();
    this.signal = signal === undefined ? controller.signal : AbortSignal.any([controller.signal, signal]);
    if (ms > 0 && Number.isFinite(ms)) {
      this.#timer = setTimeout(() => {
        this.passed = true;
        controller.abort(new Error("deadline"));
      }, ms);
    }
  }

  /** Ends the time limit; the caller's signal stays. */
  clear(): void {
    clearTimeout(this.#timer);
  }
}

async function toBody(content: Content): Promise<unknown> {
  if (typeof content === "string" || content instanceof Uint8Array) return content;
  const stream = content instanceof ReadableStream ? content : toStream(content);
  return STREAMS_REQUESTS ? stream : new Response(stream).blob();
}

function toStream(content: AsyncIterable<Uint8Array>): ReadableStream<Uint8Array> {
  const iterator = content[Symbol.asyncIterator]();
  return new ReadableStream<Uint8Array>({
    pull: async (controller) => {
      const next = await iterator.next();
      if (next.done === true) controller.close();
      else controller.enqueue(next.value);
    },
    cancel: async (reason) => {
      await iterator.return?.(reason);
    },
  });
}
