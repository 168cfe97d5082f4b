import type { ChannelOpener, Clock, GuestMethod } from "@caisson/contract";
import { withDeadline } from "../durable/deadline.ts";

/** Resolves when the agent answers; `agent_unreachable` when it does not in time. */
export async function askAgent(
  route: ChannelOpener,
  /** Lists nothing in a fresh box and costs nothing; statistics are small however much the box holds. */
  question: Extract<GuestMethod, "ListSessions" | "Stats">,
  clock: Clock,
  ms: number,
  signal?: AbortSignal,
): Promise<void> {
  await withDeadline({ clock, ms, code: "agent_unreachable", doing: "waiting for the guest agent", signal }, async (limited) => {
    await route.open(question, {}, { signal: limited, deadlineMs: ms, noInput: true }).reply;
  });
}
