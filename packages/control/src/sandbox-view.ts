import type { Sandbox } from "@caisson/contract";
import type { SandboxRecord } from "@caisson/store";

/** A sandbox as the API shows it. */
export function toSandbox(record: SandboxRecord): Sandbox {
  const { spec } = record;
  return {
    id: record.id,
    state: record.state,
    reason: record.reason === null ? null : { ...record.reason },
    image: spec.image,
    image_digest: record.imageDigest,
    provider: spec.provider,
    runtime: record.runtime ?? spec.runtime ?? null,
    memory_mb: spec.resources.memoryMb ?? null,
    vcpus: spec.resources.vcpus ?? null,
    pids: spec.resources.pids ?? null,
    disk_mb: spec.resources.diskMb ?? null,
    network: spec.network,
    owner_id: record.ownerId,
    tenant_id: record.tenantId,
    worker_id: record.workerId,
    placement: record.placement?.placement ?? null,
    preview_domain: record.previewDomain,
    metadata: { ...record.metadata },
    created_at: new Date(record.createdAt).toISOString(),
    updated_at: new Date(record.updatedAt).toISOString(),
    expires_at: new Date(record.expiresAt).toISOString(),
    ended_at: record.endedAt === null ? null : new Date(record.endedAt).toISOString(),
  };
}
