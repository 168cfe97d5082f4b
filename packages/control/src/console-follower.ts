import { isTerminal, type Clock, type ConsoleChunk, type ConsoleRange, type SandboxState } from "@caisson/contract";

/** Time between two looks at a console, in ms. */
const LOOK_EVERY_MS = 500;
/** How long a worker that does not answer is asked again, in ms. */
const PATIENCE_MS = 15_000;
/** Most lines of one piece. */
const LINES = 1_000;

/** What is followed. */
export interface FollowConsole {
  readonly from: ConsoleRange;
  readonly read: (range: ConsoleRange) => Promise<ConsoleChunk>;
  /** The sandbox as it is now. */
  readonly look: () => Promise<{ readonly state: SandboxState }>;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Lines of a console, until its sandbox has ended. */
export async function* followConsole(options: FollowConsole): AsyncGenerator<ConsoleChunk, void, void> {
  const { read, look, clock, signal } = options;
  let range = options.from;
  let answeredAt = clock.monotonic();
  for (let first = true; ; first = false) {
    let whole = true;
    try {
      const chunk = await read(range);
      answeredAt = clock.monotonic();
      // The first is told even when it is empty: it says where one is.
      if (first || chunk.lines.length > 0 || chunk.truncated) yield chunk;
      whole = !("limit" in range) || chunk.lines.length < range.limit;
      range = { after: chunk.end, limit: LINES };
    } catch (error) {
      signal.throwIfAborted();
      if (isTerminal((await look()).state)) return;
      if (clock.monotonic() - answeredAt > PATIENCE_MS) throw error;
    }
    if (whole) {
      if (isTerminal((await look()).state)) return;
      await clock.sleep(LOOK_EVERY_MS, signal);
    }
  }
}
