import type { Clock, Timer } from "@caisson/contract";
import type { FastifyReply, FastifyRequest } from "fastify";
import { z } from "zod";
import { BodyWriter } from "./body-writer.ts";
import { PatientReader } from "./patient-reader.ts";
import { toWireError } from "./problem.ts";
import { sendHead } from "./send-head.ts";

/** One message of a stream of server-sent events. */
export type ServerSentEvent =
  | {
      /** Name of its kind. `error` and `end` are the stream's own. */
      readonly event: string;
      /** Where a client that was cut off goes on, as its `Last-Event-ID`; digits, letters, `-`, `.` and `_`. */
      readonly id?: string;
      /** Sent as JSON. */
      readonly data: unknown;
    }
  /** Nothing to tell, but a place to go on from. */
  | { readonly id: string };

/** Headers of routes whose stream goes on after a position that is a number. */
export const lastEventIdHeaders: z.ZodObject<{ "last-event-id": z.ZodOptional<z.ZodString> }, z.core.$loose> = z.looseObject({
  "last-event-id": z
    .string()
    .regex(/^\d{1,15}$/, { error: "is no position of this stream" })
    .optional()
    .meta({ description: "Go on after this position: the id of the last message that was got. Goes before `after`" }),
});

/** Time between comments, in ms: proxies and clients then know that a silent stream lives. */
export const KEEP_ALIVE_MS = 15_000;

/** Pause before a browser connects again, in ms. */
const RETRY_MS = 1_000;

/** What streams of events need. */
export interface SseOptions {
  readonly clock: Clock;
  /** Default: `KEEP_ALIVE_MS`. */
  readonly keepAliveMs?: number;
}

/**
 * Answers with server-sent events at the pace of the client: the next event is taken when the socket took the last one. The
 * head goes out at once. A source that ends is told as the event `end`; one that fails, and a server that shuts down, as
 * `error` with `{code, message, remedy, retryable}`: the client then asks again from its last id where that makes sense.
 * Throws what `error` told, for those who keep account; the answer has been given by then.
 */
export async function streamEvents(
  request: FastifyRequest,
  reply: FastifyReply,
  source: AsyncIterable<ServerSentEvent>,
  options: SseOptions,
): Promise<void> {
  const { scope } = request;
  const { clock, keepAliveMs = KEEP_ALIVE_MS } = options;
  const never = (): never => {
    throw new Error("a source of events may be silent for ever");
  };
  using reader = new PatientReader(source, { clock, signal: scope.signal, silentMs: 0, late: never });
  using stream = new SseStream(reply, { clock, keepAliveMs, signal: scope.signal });
  try {
    for (;;) {
      const next = await reader.next();
      if (next === undefined) return stream.end({ event: "end", data: {} });
      const room = stream.write(next);
      if (room !== undefined) await room;
    }
  } catch (thrown) {
    const { error } = toWireError(thrown);
    scope.failure = error;
    if (error.code === "internal") request.log.error({ err: error.cause ?? error }, "stream failed");
    const { code, message } = error;
    const { remedy, retryable } = error.entry;
    stream.end({ event: "error", data: { code, message, remedy, retryable } });
    throw thrown;
  }
}

/** The bytes of an answer of events. */
class SseStream implements Disposable {
  readonly #body: BodyWriter;
  readonly #options: Required<SseOptions>;
  #timer: Timer | undefined;

  constructor(reply: FastifyReply, options: Required<SseOptions> & { readonly signal: AbortSignal }) {
    this.#options = options;
    this.#body = new BodyWriter(reply.raw, options.signal);
    // Without the last, nginx would hold events back.
    sendHead(reply, 200, { "content-type": "text/event-stream", "x-accel-buffering": "no" });
    this.#body.write(Buffer.from(`retry: ${RETRY_MS}\n\n`));
    this.#keepAlive();
  }

  /** Sends an event. What it returns, if anything, resolves when the client has room, or rejects with the signal's reason. */
  write(event: ServerSentEvent): Promise<void> | undefined {
    this.#body.write(encode(event));
    return this.#body.full ? this.#body.room() : undefined;
  }

  /** Sends a last event without waiting and ends the answer. */
  end(last: ServerSentEvent): void {
    this.#body.write(encode(last));
    this.#body.end();
  }

  [Symbol.dispose](): void {
    this.#timer?.cancel();
    this.#body[Symbol.dispose]();
  }

  #keepAlive(): void {
    this.#timer = this.#options.clock.schedule(this.#options.keepAliveMs, () => {
      if (!this.#body.full) this.#body.write(Buffer.from(":\n\n"));
      this.#keepAlive();
    });
  }
}

/** JSON has no line break of its own, so the data is one line. */
function encode(message: ServerSentEvent): Uint8Array {
  const id = message.id === undefined ? "" : `id: ${message.id}\n`;
  return Buffer.from("event" in message ? `${id}event: ${message.event}\ndata: ${JSON.stringify(message.data)}\n\n` : `${id}\n`);
}
