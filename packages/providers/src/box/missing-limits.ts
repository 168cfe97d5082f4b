import type { ProviderReport } from "@caisson/contract";
import type { Ground } from "./technology.ts";

/** Why each limit that is missing here is missing. */
export function missingLimits(ground: Ground): NonNullable<ProviderReport["limits"]> {
  const { memory, cpu, pids, reason } = ground.powers;
  const why = reason ?? "the machine does not offer the controller";
  return {
    ...(memory ? {} : { limit_memory: why }),
    ...(cpu ? {} : { limit_cpu: why }),
    ...(pids ? {} : { limit_pids: why }),
    limit_disk: "writes go to the disk of the worker, which has no quota per sandbox",
  };
}
