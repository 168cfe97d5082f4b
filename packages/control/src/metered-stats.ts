import type { SandboxHost, SandboxRef } from "@caisson/contract";
import type { Guest, GuestStats } from "@caisson/guest";

/**
 * The figures of a guest, with the use of processors as its machine counts it where that is known: the guest's own sum lacks
 * what ended processes used.
 */
export async function meteredStats(
  guest: Guest,
  host: Pick<SandboxHost, "usage">,
  ref: SandboxRef,
  options: Parameters<Guest["stats"]>[0],
): Promise<GuestStats> {
  const [stats, usage] = await Promise.all([guest.stats(options), host.usage?.(ref, options?.signal)]);
  return usage === undefined || usage.cpuMs === null ? stats : { ...stats, cpuMs: usage.cpuMs };
}
