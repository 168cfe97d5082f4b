import { CaissonError, type Clock, type Event, type EventGap } from "@caisson/contract";
import type { EventFilter, EventPage, EventRepository } from "@caisson/store";

/** Events read at a time. */
const PAGE = 200;
/** Longest rest between two looks, in ms: how late one hears of what another control plane appended. */
const LOOK_EVERY_MS = 1_000;
/** Events that were passed over before a follower is told how far it is. */
const MARK_EVERY = 1_000;

/** What a follower of events hears, in order. */
export type EventNews =
  | { readonly type: "event"; readonly event: Event }
  /** Events that are no longer kept; what comes next is at `to`. */
  | { readonly type: "gap"; readonly gap: EventGap }
  /** No event up to this position is wanted; comes first when one begins with what happens from now on. */
  | { readonly type: "position"; readonly seq: number };

/** Whom to tell of what. */
export interface FollowEvents {
  readonly events: EventRepository;
  readonly clock: Clock;
  /** Begin after this position; absent: with what happens from now on. */
  readonly after?: number;
  readonly filter: EventFilter;
  /** Ends the following, by its reason. */
  readonly signal: AbortSignal;
}

/**
 * Events after a position and then as they happen, in order, none left out and none twice. They are read page by page when
 * the follower takes them, so one that is slow costs nothing. `invalid_request` for a position that was never given.
 */
export async function followEvents(options: FollowEvents): Promise<AsyncIterable<EventNews>> {
  const { events, after, filter } = options;
  const begin = after ?? (await events.page(Number.MAX_SAFE_INTEGER, 1, filter)).newest;
  const first = await events.page(begin, PAGE, filter);
  if (begin > first.newest) {
    const message = `There is no event ${begin} yet: the last is ${first.newest}. The database is another one; begin anew.`;
    throw new CaissonError("invalid_request", message, { errors: [{ path: "after", message: "was not given by this server" }] });
  }
  return follow(options, begin, first);
}

async function* follow(options: FollowEvents, begin: number, first: EventPage): AsyncGenerator<EventNews, void, void> {
  const { events, clock, filter, signal } = options;
  using bell = new Bell(events, clock, signal);
  // One that breaks before its first event goes on here: what happened meanwhile is not lost.
  if (options.after === undefined) yield { type: "position", seq: begin };
  let position = begin;
  let told = begin;
  for (let page = first; ; page = await events.page(position, PAGE, filter)) {
    if (page.oldest > position + 1) yield { type: "gap", gap: { from: position + 1, to: page.oldest } };
    for (const event of page.items) yield { type: "event", event };
    told = page.items.at(-1)?.seq ?? told;
    position = page.scanned;
    if (position - told >= MARK_EVERY) {
      yield { type: "position", seq: position };
      told = position;
    }
    if (page.items.length < PAGE) await bell.rung(LOOK_EVERY_MS);
  }
}

/** Rings when something was appended. */
class Bell implements Disposable {
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  readonly #unsubscribe: () => void;
  #rung = false;
  #wake: (() => void) | undefined;

  constructor(events: EventRepository, clock: Clock, signal: AbortSignal) {
    this.#clock = clock;
    this.#signal = signal;
    this.#unsubscribe = events.onAppend(() => {
      this.#rung = true;
      this.#wake?.();
    });
  }

  /** Resolves when it rang since the last time, or after `ms`; rejects with the signal's reason. */
  async rung(ms: number): Promise<void> {
    this.#signal.throwIfAborted();
    if (!this.#rung) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      const timer = this.#clock.schedule(ms, resolve);
      this.#signal.addEventListener("abort", resolve as () => void, { once: true });
      await promise;
      this.#signal.removeEventListener("abort", resolve as () => void);
      timer.cancel();
      this.#wake = undefined;
      this.#signal.throwIfAborted();
    }
    this.#rung = false;
  }

  [Symbol.dispose](): void {
    this.#unsubscribe();
  }
}
