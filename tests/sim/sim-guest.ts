import type { ChannelOpener } from "@caisson/contract";
import type { Guest, GuestStats, Session } from "@caisson/guest";

/** A guest that can only answer a ping, and in which nothing runs. */
export function guestOf(opener: ChannelOpener): Guest {
  const stats = async (): Promise<GuestStats> => {
    await opener.open("Stats", {}).reply;
    const network = { rxBytes: 0, rxPackets: 0, txBytes: 0, txPackets: 0 };
    return { uptimeMs: 0, processes: 1, sessions: 0, memoryBytes: 0, cpuMs: 0, cpus: 1, diskTotal: 0, diskFree: 0, ...network };
  };
  const sessions = async (): Promise<readonly Session[]> => {
    await opener.open("ListSessions", {}).reply;
    return [];
  };
  return new Proxy({ stats, sessions } as Partial<Guest> as Guest, {
    get: (target, key) => {
      const known: unknown = Reflect.get(target, key);
      if (known === undefined) throw new Error(`the simulated guest has no ${String(key)}`);
      return known;
    },
  });
}
