import type { Clock, ErrorCode } from "@caisson/contract";
import type { IncomingCall } from "./incoming-call.ts";
import type { KeepAliveOptions } from "./keep-alive.ts";

/** How a link behaves. */
export interface LinkOptions {
  /** The dialler is the side that connected. */
  readonly role: "dialler" | "listener";
  readonly clock: Clock;
  /** What this side calls itself. Default: `caisson/<version>`. */
  readonly build?: string;
  /** Optional abilities of this side. Default: none. */
  readonly features?: readonly string[];
  /** Versions this side speaks. Default: all that this build knows. */
  readonly protocol?: readonly [number, number];
  /** Takes the other side's calls. Without it they fail with `unsupported`. */
  readonly onOpen?: (call: IncomingCall) => void;
  /** Time the other side has for its hello, in ms. Default 10 000. */
  readonly helloDeadlineMs?: number;
  /** Pings a silent peer. Default: off, right for local sockets. */
  readonly keepAlive?: KeepAliveOptions;
  /**
   * Each chunk of the stream is memory of its own that nobody else looks at: it is freed as soon as it was taken apart, not
   * when it is collected. Right for the sockets of an HTTP server or client. Default: chunks are left as they are.
   */
  readonly ownsChunks?: boolean;
  /** Most calls that each side may have open at once. Default 1024. */
  readonly maxChannels?: number;
  /** Code that open calls fail with when the link ends. Default `agent_unreachable`. */
  readonly lostCode?: ErrorCode;
}
