import { parseDuration, type Config } from "@caisson/contract";
import { DEFAULT_PLACEMENT, type PlacementSettings } from "../placement/place.ts";

/** Values of the configuration by which workers are judged and chosen. */
export interface FleetSettings {
  /** Silence after which a worker is late, in ms. Default 30 s. */
  readonly lateAfterMs: number;
  /** Silence after which it is unreachable, and how long its leases are good, in ms. Default 90 s. */
  readonly unreachableAfterMs: number;
  readonly placement: PlacementSettings;
}

/** The configuration's defaults. */
export const DEFAULT_FLEET: FleetSettings = { lateAfterMs: 30_000, unreachableAfterMs: 90_000, placement: DEFAULT_PLACEMENT };

/** The part of a configuration that is about workers. */
export function fleetSettings({ placement, workers }: Config): FleetSettings {
  return {
    lateAfterMs: parseDuration(workers.late_after) ?? DEFAULT_FLEET.lateAfterMs,
    unreachableAfterMs: parseDuration(workers.unreachable_after) ?? DEFAULT_FLEET.unreachableAfterMs,
    placement: {
      strategy: placement.strategy,
      preferLocal: placement.prefer_local,
      overcommit: { vcpus: placement.overcommit_vcpus, memory: placement.overcommit_memory, disk: placement.overcommit_disk },
    },
  };
}
