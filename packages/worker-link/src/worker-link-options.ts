import { systemClock, type Clock } from "@caisson/contract";
import type { IncomingCall, LinkOptions } from "@caisson/link";

/** Silence after which a ping is sent, and time for an answer, in ms. */
const KEEP_ALIVE = { intervalMs: 5_000, timeoutMs: 10_000 } as const;
/** Most calls each side may have open: terminals, watches and streams of all sandboxes of a worker share its link. */
const MAX_CHANNELS = 65_536;

/** How a link between a worker and a control plane behaves. */
export function workerLinkOptions(
  side: "worker" | "control",
  role: LinkOptions["role"],
  onOpen: (call: IncomingCall) => void,
  clock: Clock = systemClock,
): LinkOptions {
  return {
    role,
    clock,
    onOpen,
    keepAlive: KEEP_ALIVE,
    maxChannels: MAX_CHANNELS,
    lostCode: side === "control" ? "worker_unavailable" : "server_unreachable",
  };
}
