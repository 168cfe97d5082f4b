import type { Event } from "@caisson/contract";
import type { CallOptions } from "./call-options.ts";
import type { HttpClient } from "./http-client.ts";

/** What happened to sandboxes: `client.events`. */
export class Events {
  readonly #http: HttpClient;

  /** Made by `Caisson`. */
  constructor(http: HttpClient) {
    this.#http = http;
  }

  /**
   * Events after a position, oldest first.
   *
   * ```ts
   * let after = 0;
   * for (const event of await client.events.list({ after })) after = event.seq;
   * ```
   */
  async list(options: CallOptions & { readonly after?: number; readonly limit?: number } = {}): Promise<readonly Event[]> {
    const { signal, timeoutMs, after, limit } = options;
    const query = { after, limit };
    return (await this.#http.json<{ items: Event[] }>({ signal, timeoutMs, method: "GET", path: "/events", query })).items;
  }
}
