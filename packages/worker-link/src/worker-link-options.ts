import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { systemClock, type Clock } from "@caisson/contract";
import type { IncomingCall, LinkOptions } from "@caisson/link";

/** Silence after which a ping is sent, and time for an answer, in ms. */
const KEEP_ALIVE = { intervalMs: 5_000, timeoutMs: 10_000 } as const;
/** Most calls each side may have open: terminals, watches and streams of all sandboxes of a worker share its link. */
const MAX_CHANNELS = 65_536;

/** How a link between a worker and a control plane behaves that runs over `stream`, the connection of an HTTP server or client. */
export function workerLinkOptions(
  stream: Duplex,
  side: "worker" | "control",
  role: LinkOptions["role"],
  onOpen: (call: IncomingCall) => void,
  clock: Clock = systemClock,
): LinkOptions {
  return {
    role,
    clock,
    onOpen,
    ownsChunks: stream instanceof Socket,
    keepAlive: KEEP_ALIVE,
    maxChannels: MAX_CHANNELS,
    lostCode: side === "control" ? "worker_unavailable" : "server_unreachable",
  };
}
