import type { SandboxStats } from "@caisson/contract";
import type { SandboxFacts } from "@caisson/control";
import type { GuestStats } from "@caisson/guest";

/** An earlier sample, for what is used between two. */
export interface EarlierStats {
  readonly uptimeMs: number;
  readonly cpuMs: number;
}

/** What a sandbox uses, as the API shows it. */
export function statsView(
  stats: GuestStats,
  sandbox: Pick<SandboxFacts, "vcpus" | "memory_mb">,
  now: number,
  earlier?: EarlierStats,
): SandboxStats {
  return {
    at: new Date(now).toISOString(),
    uptime_ms: stats.uptimeMs,
    processes: stats.processes,
    sessions: stats.sessions,
    cpu: {
      used_ms: stats.cpuMs,
      cpus: Math.min(stats.cpus, sandbox.vcpus ?? stats.cpus),
      percent: earlier === undefined ? null : percentBetween(earlier, stats),
    },
    memory: { used_bytes: stats.memoryBytes, limit_bytes: sandbox.memory_mb === null ? null : sandbox.memory_mb * 1_048_576 },
    disk: { total_bytes: stats.diskTotal, free_bytes: stats.diskFree },
    network: { rx_bytes: stats.rxBytes, rx_packets: stats.rxPackets, tx_bytes: stats.txBytes, tx_packets: stats.txPackets },
  };
}

/**
 * Use of processors between two samples, 100 for one whole; null when no time lies between them. Processes that ended take
 * what they used out of the sum of some providers: less than nothing is shown as nothing.
 */
export function percentBetween(earlier: EarlierStats, later: EarlierStats): number | null {
  const elapsed = later.uptimeMs - earlier.uptimeMs;
  if (elapsed <= 0) return null;
  return Math.round(Math.max(0, ((later.cpuMs - earlier.cpuMs) / elapsed) * 100) * 10) / 10;
}
