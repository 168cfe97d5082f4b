import { createParser } from "eventsource-parser";
import { CaissonApiError, errorFromWire } from "./api-error.ts";
import type { CallOptions } from "./call-options.ts";
import type { HttpClient, Query } from "./http-client.ts";
import { pause } from "./pause.ts";

/** One message of a stream of server-sent events. */
export interface SseMessage {
  /** Name of its kind. */
  readonly event: string;
  /** Position; undefined where the stream cannot be resumed after it. */
  readonly id: string | undefined;
  readonly data: Readonly<Record<string, unknown>>;
}

/** A stream of server-sent events. */
export interface SseRequest extends CallOptions {
  readonly http: HttpClient;
  /** Path below `/api/v1`, encoded. */
  readonly path: string;
  readonly query?: Query;
  /** Position to go on from: the id of the last message that is known. @default where the query says */
  readonly lastEventId?: string | undefined;
  /** First pause before a broken stream is asked for again, in ms; it doubles up to 5 s. @default 100 */
  readonly backoffMs?: number;
  /** How long a server that cannot be reached is asked again, in ms. @default 60 000 */
  readonly patienceMs?: number;
  /** Silence after which the connection counts as broken, in ms; the server sends a comment every 15 s. @default 45 000 */
  readonly silenceMs?: number;
}

const MAX_BACKOFF_MS = 5_000;
const PATIENCE_MS = 60_000;
const SILENCE_MS = 45_000;
/** Longest message, in characters. */
const MAX_MESSAGE = 8_388_608;

/**
 * Follows a stream of server-sent events until the server says that it has ended. When the connection breaks, or the server
 * restarts, it is made again with the id of the last message, so that none is lost or comes twice. Throws when the server
 * says that it failed for good, when it refuses the first request, and when it cannot be reached for `patienceMs`. Leaving
 * the loop ends it.
 */
export async function* followEvents(request: SseRequest): AsyncGenerator<SseMessage, void, void> {
  const { signal, backoffMs = 100, patienceMs = PATIENCE_MS } = request;
  let lastEventId = request.lastEventId;
  let connected = false;
  let failures = 0;
  let heardAt = performance.now();
  for (;;) {
    let broken: unknown;
    try {
      for await (const heard of readOnce(request, lastEventId)) {
        connected = true;
        if (heard === "open") continue;
        failures = 0;
        heardAt = performance.now();
        if (heard === "comment") continue;
        if ("position" in heard) {
          lastEventId = heard.position;
          continue;
        }
        if (heard.event === "end") return;
        if (heard.event === "error") throw errorFromWire(heard.data);
        yield heard;
        heardAt = performance.now();
      }
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      if (!connected || isFinal(error)) throw error;
      broken = error;
    }
    if (performance.now() - heardAt > patienceMs)
      throw broken ?? new CaissonApiError("server_unreachable", "The stream ended again and again, and the server did not say why.");
    failures += 1;
    await pause(Math.min(MAX_BACKOFF_MS, backoffMs * 2 ** (failures - 1)), signal);
  }
}

/** What is heard on one connection, in order: that it stands, positions, messages, and comments, which only say that it lives. */
type Heard = SseMessage | { readonly position: string } | "open" | "comment";

/** What is heard on one connection until it ends or breaks. */
async function* readOnce(request: SseRequest, lastEventId: string | undefined): AsyncGenerator<Heard, void, void> {
  const { http, path, query, timeoutMs, silenceMs = SILENCE_MS } = request;
  using silence = new Silence(silenceMs, request.signal);
  const { body } = await http.stream({
    method: "GET",
    path,
    ...(query === undefined ? {} : { query }),
    headers: { accept: "text/event-stream", ...(lastEventId === undefined ? {} : { "last-event-id": lastEventId }) },
    signal: silence.signal,
    timeoutMs,
  });
  const arrived: Heard[] = ["open"];
  const parser = createParser({
    maxBufferSize: MAX_MESSAGE,
    onId: (position) => void arrived.push({ position }),
    onEvent: ({ event = "message", id, data }) => void arrived.push({ event, id, data: parseData(data) }),
    onComment: () => void arrived.push("comment"),
    onError: (error) => {
      if (error.type === "max-buffer-size-exceeded") throw malformed(error);
    },
  });
  const decoder = new TextDecoder();
  const reader = body.getReader();
  try {
    for (;;) {
      yield* arrived.splice(0);
      silence.listen();
      const { done, value } = await reader.read();
      silence.rest();
      if (done) return;
      parser.feed(decoder.decode(value, { stream: true }));
    }
  } finally {
    // The stream may have failed already; who leaves early has no use for the rest.
    await reader.cancel().catch(() => undefined);
  }
}

/** Ends a connection on which nothing is heard; a pause of the consumer does not count. */
class Silence implements Disposable {
  readonly signal: AbortSignal;
  readonly #ms: number;
  readonly #controller = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(ms: number, signal: AbortSignal | undefined) {
    this.#ms = ms;
    this.signal = signal === undefined ? this.#controller.signal : AbortSignal.any([this.#controller.signal, signal]);
  }

  listen(): void {
    const message = `Nothing was heard from the server for ${this.#ms} ms.`;
    this.#timer = setTimeout(() => this.#controller.abort(new CaissonApiError("deadline_exceeded", message)), this.#ms);
  }

  rest(): void {
    clearTimeout(this.#timer);
  }

  [Symbol.dispose](): void {
    this.rest();
  }
}

/** Whether asking again is of no use: the server said so, or does not speak our protocol. */
function isFinal(error: unknown): boolean {
  return error instanceof CaissonApiError && (!error.retryable || error.code === "protocol_error");
}

function parseData(text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw malformed(cause);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw malformed();
  return value as Record<string, unknown>;
}

function malformed(cause?: unknown): CaissonApiError {
  return new CaissonApiError("protocol_error", "The server sent an event that does not fit the protocol.", { cause });
}
