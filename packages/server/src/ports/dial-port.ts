import type { Duplex } from "node:stream";
import { isCaissonError } from "@caisson/contract";
import type { Guest, GuestCallOptions } from "@caisson/guest";

/**
 * Connects to a TCP port of the sandbox itself: on its loopback of either kind, and never by a name or an address that a
 * caller gave. Throws `connection_refused` when nothing listens there.
 */
export async function dialPort(guest: Guest, port: number, options: GuestCallOptions): Promise<Duplex> {
  try {
    return await guest.dial({ network: "tcp", host: "127.0.0.1", port }, options);
  } catch (error) {
    if (!isCaissonError(error, "connection_refused")) throw error;
    try {
      return await guest.dial({ network: "tcp", host: "::1", port }, options);
    } catch (other) {
      // Where there is no IPv6 at all, the first refusal says more.
      throw isCaissonError(other, "agent_unreachable", "cancelled", "deadline_exceeded", "sandbox_destroyed") ? other : error;
    }
  }
}
