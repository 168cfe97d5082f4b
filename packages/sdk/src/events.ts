import type { Event, EventGap } from "@caisson/contract";
import type { CallOptions } from "./call-options.ts";
import type { HttpClient, Query } from "./http-client.ts";
import { followEvents } from "./sse.ts";

/** Which events are wanted. */
export interface EventFilter {
  /** Types such as `process.exited`, or prefixes such as `sandbox.*`. @default all */
  readonly types?: readonly string[] | undefined;
  /** Only those of this sandbox and of what is in it. @default all */
  readonly sandboxId?: string | undefined;
}

/** An event, or the news that some are no longer kept: those from `from` up to, and without, `to`. */
export type EventOrGap = Event | ({ readonly type: "gap" } & EventGap);

/**
 * What happened to all that there is, in order: `client.events`; to one sandbox and what is in it: `sandbox.events`.
 *
 * ```ts
 * for (const event of await sandbox.events.list()) console.log(event.at, event.type);
 * ```
 */
export class Events {
  readonly #http: HttpClient;
  readonly #sandboxId: string | undefined;

  /** Made by `Caisson` and `Sandbox`. */
  constructor(http: HttpClient, sandboxId?: string) {
    this.#http = http;
    this.#sandboxId = sandboxId;
  }

  /**
   * The first events after a position, or the last ones before one; oldest first, at most `limit` (100).
   *
   * ```ts
   * let after = 0;
   * for (const event of await client.events.list({ after, types: ["sandbox.*"] })) after = event.seq;
   * ```
   */
  async list(
    options: CallOptions & EventFilter & { readonly after?: number; readonly before?: number; readonly limit?: number } = {},
  ): Promise<readonly Event[]> {
    const { signal, timeoutMs, after, before, limit } = options;
    const query = { ...this.#query(options), after, before, limit };
    return (await this.#http.json<{ items: Event[] }>({ signal, timeoutMs, method: "GET", path: "/events", query })).items;
  }

  /**
   * Events as they happen, from now on or after a position, until the loop is left or the signal aborts. When the connection
   * breaks it is made again, and none is lost or comes twice.
   *
   * ```ts
   * for await (const event of client.events.stream({ after: 0, types: ["sandbox.running"] })) {
   *   if (event.type !== "gap") console.log(event.seq, event.type, event.sandbox_id);
   *   break;
   * }
   * ```
   */
  async *stream(options: CallOptions & EventFilter & { readonly after?: number } = {}): AsyncGenerator<EventOrGap, void, void> {
    const { signal, timeoutMs, after } = options;
    const query = { ...this.#query(options), after };
    for await (const { event, data } of followEvents({ http: this.#http, path: "/events/stream", query, signal, timeoutMs })) {
      yield (event === "gap" ? { type: "gap", ...data } : data) as EventOrGap;
    }
  }

  #query({ types, sandboxId }: EventFilter): Query {
    return { type: types?.join(","), sandbox_id: this.#sandboxId ?? sandboxId };
  }
}
