import { isTerminal, type Clock } from "@caisson/contract";
import type { SandboxFacts } from "@caisson/control";
import type { Guest } from "@caisson/guest";
import type { ServerSentEvent } from "../http/sse-stream.ts";
import { endOf } from "./sandbox-end.ts";
import { statsView, type EarlierStats } from "./stats-view.ts";

/** How long a sandbox that does not answer is asked again, in ms: by then it is known whether it has ended. */
const PATIENCE_MS = 15_000;

/** What is followed. */
export interface FollowStats {
  readonly guest: Guest;
  /** The sandbox as it was when the following began. */
  readonly sandbox: SandboxFacts;
  /** The sandbox as it is now. */
  readonly look: () => Promise<SandboxFacts>;
  readonly clock: Clock;
  readonly everyMs: number;
  readonly signal: AbortSignal;
}

/** Samples of what a sandbox uses, until it has ended. */
export async function* followStats(options: FollowStats): AsyncGenerator<ServerSentEvent, void, void> {
  const { guest, sandbox, look, clock, everyMs, signal } = options;
  let earlier: EarlierStats | undefined;
  let answeredAt = clock.monotonic();
  for (;;) {
    try {
      const stats = await guest.stats({ signal });
      answeredAt = clock.monotonic();
      yield { event: "stats", data: statsView(stats, sandbox, clock.now(), earlier) };
      earlier = stats;
    } catch (error) {
      signal.throwIfAborted();
      const now = await look();
      if (isTerminal(now.state)) return yield { event: "ended", data: endOf(now) };
      if (clock.monotonic() - answeredAt > PATIENCE_MS) throw error;
    }
    await clock.sleep(everyMs, signal);
  }
}
