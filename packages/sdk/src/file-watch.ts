import type { FileChangeEvent } from "@caisson/contract";
import { CaissonApiError } from "./api-error.ts";
import { callOf, type FileOptions } from "./file-options.ts";
import type { HttpClient } from "./http-client.ts";
import { followEvents, type SseMessage } from "./sse.ts";

/** How to watch. */
export interface WatchOptions extends FileOptions {
  /** Also all folders below, those made later included. @default false */
  readonly recursive?: boolean | undefined;
  /** How long a server that cannot be reached is asked again, in ms. @default 60 000 */
  readonly patienceMs?: number | undefined;
}

/** One item of a watch. */
export type WatchItem =
  /** The watch is on: what happens from now on is told. Comes first, and after every `reset`. */
  | { readonly type: "ready" }
  | ({ readonly type: "change" } & FileChangeEvent)
  /** Changes were lost, this reader was too slow: read the folder again. */
  | { readonly type: "gap"; readonly from: number; readonly to: number }
  /** Changes were lost, too many came at once: read the folder again. */
  | { readonly type: "overflow" }
  /** The watch was lost and made anew; changes in between may have been missed: read the folder again. */
  | { readonly type: "reset" };

/** Time for closing a watch that was left, in ms. */
const CLOSE_MS = 5_000;

/**
 * Changes as they happen, each once and in order, over broken connections and restarts of the server. Ends when the watch
 * is closed. Leaving the loop closes it.
 */
export async function* watchFiles(
  http: HttpClient,
  base: string,
  path: string,
  options: WatchOptions,
): AsyncGenerator<WatchItem, void, void> {
  const { recursive, user, patienceMs } = options;
  const watched = { path, recursive: recursive === true ? true : undefined, user };
  const request = { ...callOf(options), http, path: `${base}/watch`, query: watched, ...(patienceMs === undefined ? {} : { patienceMs }) };
  let watchId: number | undefined;
  try {
    for await (const message of followEvents(request)) {
      if (message.event === "ready") {
        const { watch_id } = message.data;
        if (typeof watch_id !== "number") throw malformed();
        // Said again by a resumed stream.
        if (watch_id === watchId) continue;
        watchId = watch_id;
      }
      const item = toItem(message);
      if (item !== undefined) yield item;
    }
    watchId = undefined;
  } finally {
    // One that cannot be closed now closes by itself when nobody reads it.
    if (watchId !== undefined)
      await http
        .json({ method: "DELETE", path: `${base}/watch/${watchId}`, timeoutMs: CLOSE_MS, idempotent: false })
        .catch(() => undefined);
  }
}

/** Kinds that this version does not know are left out. */
function toItem({ event, data }: SseMessage): WatchItem | undefined {
  switch (event) {
    case "ready":
    case "reset":
    case "overflow":
      return { type: event };
    case "gap":
      if (typeof data.from !== "number" || typeof data.to !== "number") throw malformed();
      return { type: event, from: data.from, to: data.to };
    case "change":
      if (typeof data.seq !== "number" || typeof data.kind !== "string" || typeof data.path !== "string") throw malformed();
      return { type: event, ...(data as unknown as FileChangeEvent) };
    default:
      return undefined;
  }
}

function malformed(): CaissonApiError {
  return new CaissonApiError("protocol_error", "The server sent an event of a watch that does not fit the protocol.");
}
