import {
  SANDBOX_STATES,
  envSchema,
  metadataSchema,
  placementSchema,
  workerIdSchema,
  workerLabelsSchema,
  type CreateSandbox,
  type Placement,
  type SandboxState,
  type StartSandbox,
} from "@caisson/contract";
import type { Insertable, Selectable } from "kysely";
import { z } from "zod";
import type { SandboxTable } from "./tables.ts";

/** What was asked for and settled at admission: all that a worker needs to start it, save the environment. */
export type SandboxSpec = Omit<StartSandbox, "sandboxId" | "epoch" | "env">;

const resourcesSchema = z.strictObject({
  memoryMb: z.number().exactOptional(),
  vcpus: z.number().exactOptional(),
  pids: z.number().exactOptional(),
  diskMb: z.number().exactOptional(),
});

const specSchema = z.strictObject({
  provider: z.string(),
  runtime: z.string().exactOptional(),
  image: z.string(),
  resources: resourcesSchema,
  user: z.string().exactOptional(),
  workdir: z.string().exactOptional(),
  network: z.literal("none"),
});

/** Why a sandbox is on its worker, and what it asked of workers, so that another one can be found for it. */
export interface PlacementRecord {
  readonly placement: Placement;
  /** Only what the request named; the rest came from defaults, which may be others on another worker. */
  readonly asked: Pick<CreateSandbox, "worker_id" | "worker_labels" | "provider" | "runtime" | "memory_mb" | "vcpus" | "pids" | "disk_mb">;
}

const placementRecordSchema: z.ZodType<PlacementRecord> = z.strictObject({
  placement: placementSchema,
  asked: z.strictObject({
    worker_id: workerIdSchema.exactOptional(),
    worker_labels: workerLabelsSchema.exactOptional(),
    provider: z.string().exactOptional(),
    runtime: z.string().exactOptional(),
    memory_mb: z.number().exactOptional(),
    vcpus: z.number().exactOptional(),
    pids: z.number().exactOptional(),
    disk_mb: z.number().exactOptional(),
  }),
});

const stateSchema = z.enum(SANDBOX_STATES);

/** Why a sandbox is in its state. */
export interface Reason {
  /** A code of the error table, or the name of the event that led here. */
  readonly code: string;
  readonly message: string;
}

/** A sandbox as the store keeps it. Times are ms since the Unix epoch. */
export interface SandboxRecord {
  readonly id: string;
  readonly version: number;
  readonly epoch: number;
  readonly state: SandboxState;
  readonly reason: Reason | null;
  readonly workerId: string;
  readonly ownerId: string | null;
  readonly tenantId: string | null;
  /** Null on rows of old. */
  readonly placement: PlacementRecord | null;
  readonly spec: SandboxSpec;
  /** Empty once the sandbox has ended. */
  readonly env: Readonly<Record<string, string>>;
  readonly metadata: Readonly<Record<string, string>>;
  /** Runtime that runs it; null until it ran. */
  readonly runtime: string | null;
  readonly imageDigest: string | null;
  readonly previewDomain: string | null;
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly startedAt: number | null;
  readonly expiresAt: number;
  readonly deadlineAt: number | null;
  readonly endedAt: number | null;
}

/** A row read back; what does not fit its schema is an error, never passed on. */
export function decodeSandbox(row: Selectable<SandboxTable>): SandboxRecord {
  return {
    id: row.id,
    version: row.version,
    epoch: row.epoch,
    state: stateSchema.parse(row.state),
    reason: row.reason_code === null ? null : { code: row.reason_code, message: row.reason_message ?? "" },
    workerId: row.worker_id,
    ownerId: row.owner_id,
    tenantId: row.tenant_id,
    placement: row.placement === null ? null : placementRecordSchema.parse(JSON.parse(row.placement)),
    spec: specSchema.parse(JSON.parse(row.spec)),
    env: row.env === null ? {} : envSchema.parse(JSON.parse(row.env)),
    metadata: metadataSchema.parse(JSON.parse(row.metadata)),
    runtime: row.runtime,
    imageDigest: row.image_digest,
    previewDomain: row.preview_domain,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    startedAt: row.started_at,
    expiresAt: row.expires_at,
    deadlineAt: row.deadline_at,
    endedAt: row.ended_at,
  };
}

/** A spec as it is kept. */
export function encodeSpec(spec: SandboxSpec): string {
  return JSON.stringify(specSchema.parse(spec));
}

/** A record as a row. */
export function encodeSandbox(record: SandboxRecord): Omit<Insertable<SandboxTable>, "driver" | "driver_until"> {
  return {
    id: record.id,
    version: record.version,
    epoch: record.epoch,
    state: record.state,
    reason_code: record.reason?.code ?? null,
    reason_message: record.reason?.message ?? null,
    worker_id: record.workerId,
    owner_id: record.ownerId,
    tenant_id: record.tenantId,
    placement: record.placement === null ? null : JSON.stringify(record.placement),
    spec: encodeSpec(record.spec),
    env: JSON.stringify(record.env),
    metadata: JSON.stringify(record.metadata),
    runtime: record.runtime,
    image_digest: record.imageDigest,
    preview_domain: record.previewDomain,
    created_at: record.createdAt,
    updated_at: record.updatedAt,
    started_at: record.startedAt,
    expires_at: record.expiresAt,
    deadline_at: record.deadlineAt,
    ended_at: record.endedAt,
  };
}
