import type { Worker } from "@caisson/contract";
import type { WorkerRecord } from "@caisson/store";

/** A worker as the API shows it; `publicUrlProblem` is what it last told here. */
export function toWorker(record: WorkerRecord, late: boolean, publicUrlProblem: string | null): Worker {
  return {
    id: record.id,
    state: record.state,
    late,
    draining: record.adminDrain ? "admin" : record.selfDrain ? "worker" : "no",
    version: record.build,
    credential: record.credential,
    labels: { ...record.labels },
    tenant_id: record.tenantId,
    providers: [...record.providers],
    capacity: record.capacity,
    reserved: record.reserved,
    used: record.used,
    preview_domain: record.previewDomain,
    public_url: record.publicUrl,
    public_url_problem: record.publicUrl === null ? null : publicUrlProblem,
    advertise_addr: record.advertiseAddr,
    on_control_loss: record.onControlLoss,
    last_heartbeat_at: record.lastHeartbeatAt === null ? null : new Date(record.lastHeartbeatAt).toISOString(),
    created_at: new Date(record.createdAt).toISOString(),
    updated_at: new Date(record.updatedAt).toISOString(),
  };
}
