import type { Amounts } from "@caisson/contract";
import type { WorkerRecord } from "@caisson/store";

/** How often what a machine has may be promised. */
export interface Overcommit {
  readonly vcpus: number;
  readonly memory: number;
  readonly disk: number;
}

const DIMENSIONS = ["sandboxes", "memory_mb", "vcpus", "disk_mb"] as const;
const NAMES = { sandboxes: "sandboxes", memory_mb: "MiB of memory", vcpus: "cores", disk_mb: "MiB of disk" } as const;

/** Most that a worker may have promised; 0 for no bound, also for what it did not say. */
export function boundsOf({ capacity }: Pick<WorkerRecord, "capacity">, overcommit: Overcommit): Amounts {
  return {
    sandboxes: capacity.sandboxes,
    memory_mb: Math.floor(capacity.memory_mb * overcommit.memory),
    vcpus: capacity.vcpus * overcommit.vcpus,
    disk_mb: Math.floor(capacity.disk_mb * overcommit.disk),
  };
}

/** What there is too little of for these amounts, in words; undefined when they fit. */
export function shortOf(reserved: Amounts, asked: Amounts, bounds: Amounts): string | undefined {
  for (const one of DIMENSIONS) {
    if (bounds[one] === 0 || reserved[one] + asked[one] <= bounds[one] + ROUNDING) continue;
    const left = Math.max(0, Math.round((bounds[one] - reserved[one]) * 100) / 100);
    return `It has ${left} of ${Math.round(bounds[one] * 100) / 100} ${NAMES[one]} left, and ${asked[one]} are asked for.`;
  }
  return undefined;
}

/** Cores are fractions, whose sums are not exact. */
const ROUNDING = 1e-6;

/** Which share of what is scarcest stays free, from 0 to 1; 1 where nothing is bounded. */
export function freeShare(reserved: Amounts, asked: Amounts, bounds: Amounts): number {
  let least = 1;
  for (const one of DIMENSIONS) if (bounds[one] !== 0) least = Math.min(least, 1 - (reserved[one] + asked[one]) / bounds[one]);
  return Math.max(0, least);
}
