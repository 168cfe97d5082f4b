import { isCaissonError } from "@caisson/contract";
import type { Guest, WatchOutput } from "@caisson/guest";
import type { ServerSentEvent } from "../http/sse-stream.ts";
import { placeText, toEvents, type WatchPlace } from "./watch-events.ts";

/** What to watch, and where to go on. */
export interface WatchWish {
  readonly path: string;
  readonly recursive: boolean;
  readonly user?: string;
  /** Where the client was in an earlier watch. */
  readonly after?: WatchPlace;
}

/**
 * The changes of a folder as events, from where the client was. Resolves once the watch is on. When the sandbox has the
 * client's watch no more, a new one begins with the event `reset`. Leaving the events leaves the watch: it lives on in
 * the sandbox until it is closed, or had no reader for a while.
 */
export async function watchChanges(guest: Guest, wish: WatchWish, signal: AbortSignal): Promise<AsyncIterable<ServerSentEvent>> {
  if (wish.after !== undefined) {
    try {
      const output = await guest.readWatch(wish.after.watchId, wish.after.seq, { signal });
      return events("resumed", wish.after, output);
    } catch (error) {
      if (!isCaissonError(error, "watch_not_found")) throw error;
    }
  }
  const { recursive, user } = wish;
  const { id, seq } = await guest.openWatch(wish.path, { recursive, signal, ...(user === undefined ? {} : { user }) });
  const output = await guest.readWatch(id, seq, { signal });
  return events(wish.after === undefined ? "asked for" : "instead of one that is gone", { watchId: id, seq }, output);
}

async function* events(
  begun: "asked for" | "resumed" | "instead of one that is gone",
  place: WatchPlace,
  output: AsyncIterable<WatchOutput>,
): AsyncGenerator<ServerSentEvent, void, void> {
  if (begun === "instead of one that is gone") {
    yield { event: "reset", data: { reason: "The sandbox has the watch no more; changes may have been missed." } };
  }
  yield { event: "ready", id: placeText(place), data: { watch_id: place.watchId, seq: place.seq } };
  for await (const said of output) yield* toEvents(place.watchId, said);
}
