import type { FleetFacts } from "./fleet-facts.ts";
import type { SandboxRow } from "./fleet-rows.ts";

/** A worker gets a sandbox: it takes any, is meant for its tenant, and is what was asked for. */
export function checkPlacement(facts: FleetFacts, row: SandboxRow): void {
  const worker = facts.workers.get(row.workerId);
  if (worker === undefined) return facts.violate(`${row.id} went to ${row.workerId}, which nobody knows`);
  if (worker.state !== "online" || worker.adminDrain || worker.selfDrain) {
    const drained = worker.adminDrain || worker.selfDrain ? " and drained" : "";
    facts.violate(`${row.id} went to ${row.workerId}, which is ${worker.state}${drained}`);
  }
  if (worker.tenantId !== null && worker.tenantId !== row.tenantId) {
    facts.violate(`${row.id} of ${row.tenantId} went to ${row.workerId}, which is for ${worker.tenantId}`);
  }
  const { asked } = row;
  if (asked.worker_id !== undefined && asked.worker_id !== row.workerId)
    facts.violate(`${row.id} asked for ${asked.worker_id}, got ${row.workerId}`);
  for (const [key, value] of Object.entries(asked.worker_labels ?? {})) {
    if (worker.labels[key] !== value) facts.violate(`${row.id} asked for ${key}=${value}, and ${row.workerId} has ${worker.labels[key]}`);
  }
}
