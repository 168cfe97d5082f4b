import {
  amountsSchema,
  CONTROL_LOSS_POLICIES,
  providerReportSchema,
  WORKER_CREDENTIALS,
  WORKER_STATES,
  workerLabelsSchema,
  type Amounts,
  type ControlLossPolicy,
  type ProviderReport,
  type WorkerCredential,
  type WorkerState,
} from "@caisson/contract";
import type { Insertable, Selectable } from "kysely";
import { z } from "zod";
import type { WorkerTable } from "./tables.ts";

/** A worker as the store keeps it. Times are ms since the Unix epoch. */
export interface WorkerRecord {
  readonly id: string;
  /** Grows by one with every fenced write. */
  readonly version: number;
  readonly state: WorkerState;
  readonly adminDrain: boolean;
  readonly selfDrain: boolean;
  readonly tenantId: string | null;
  readonly credential: WorkerCredential | null;
  readonly revokedBefore: number | null;
  readonly build: string | null;
  readonly session: string | null;
  readonly sequence: number;
  readonly previousSession: string | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly providersDigest: string | null;
  readonly providers: readonly ProviderReport[];
  readonly images: readonly string[];
  readonly capacity: Amounts;
  readonly used: Amounts | null;
  readonly reserved: Amounts;
  readonly previewDomain: string | null;
  readonly previewUrl: string | null;
  readonly publicUrl: string | null;
  readonly advertiseAddr: string | null;
  readonly onControlLoss: ControlLossPolicy;
  readonly lastHeartbeatAt: number | null;
  readonly reconciledBy: string | null;
  readonly reconciledUntil: number | null;
  readonly createdAt: number;
  readonly updatedAt: number;
}

/** Nothing of anything. */
export const NO_AMOUNTS: Amounts = { vcpus: 0, memory_mb: 0, disk_mb: 0, sandboxes: 0 };

const stateSchema = z.enum(WORKER_STATES);
const credentialSchema = z.enum(WORKER_CREDENTIALS);
const policySchema = z.enum(CONTROL_LOSS_POLICIES);
const providersSchema = z.array(providerReportSchema);
const imagesSchema = z.array(z.string());

/** A row read back; what does not fit its schema is an error, never passed on. */
export function decodeWorker(row: Selectable<WorkerTable>): WorkerRecord {
  return {
    id: row.id,
    version: row.version,
    state: stateSchema.parse(row.state),
    adminDrain: row.admin_drain === 1,
    selfDrain: row.self_drain === 1,
    tenantId: row.tenant_id,
    credential: row.credential === null ? null : credentialSchema.parse(row.credential),
    revokedBefore: row.revoked_before,
    build: row.build,
    session: row.session,
    sequence: row.sequence,
    previousSession: row.previous_session,
    labels: workerLabelsSchema.parse(JSON.parse(row.labels)),
    providersDigest: row.providers_digest,
    providers: providersSchema.parse(JSON.parse(row.providers)),
    images: imagesSchema.parse(JSON.parse(row.images)),
    capacity: amountsSchema.parse(JSON.parse(row.capacity)),
    used: row.used === null ? null : amountsSchema.parse(JSON.parse(row.used)),
    reserved: {
      vcpus: Math.max(0, row.reserved_vcpus),
      memory_mb: Math.max(0, row.reserved_memory_mb),
      disk_mb: Math.max(0, row.reserved_disk_mb),
      sandboxes: Math.max(0, row.reserved_sandboxes),
    },
    previewDomain: row.preview_domain,
    previewUrl: row.preview_url,
    publicUrl: row.public_url,
    advertiseAddr: row.advertise_addr,
    onControlLoss: policySchema.parse(row.on_control_loss),
    lastHeartbeatAt: row.last_heartbeat_at,
    reconciledBy: row.reconciled_by,
    reconciledUntil: row.reconciled_until,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}

/** A record as a row. */
export function encodeWorker(record: WorkerRecord): Insertable<WorkerTable> {
  return {
    id: record.id,
    version: record.version,
    state: record.state,
    admin_drain: record.adminDrain ? 1 : 0,
    self_drain: record.selfDrain ? 1 : 0,
    tenant_id: record.tenantId,
    credential: record.credential,
    revoked_before: record.revokedBefore,
    build: record.build,
    session: record.session,
    sequence: record.sequence,
    previous_session: record.previousSession,
    labels: JSON.stringify(record.labels),
    providers_digest: record.providersDigest,
    providers: JSON.stringify(record.providers),
    images: JSON.stringify(record.images),
    capacity: JSON.stringify(record.capacity),
    used: record.used === null ? null : JSON.stringify(record.used),
    reserved_sandboxes: record.reserved.sandboxes,
    reserved_memory_mb: record.reserved.memory_mb,
    reserved_vcpus: record.reserved.vcpus,
    reserved_disk_mb: record.reserved.disk_mb,
    preview_domain: record.previewDomain,
    preview_url: record.previewUrl,
    public_url: record.publicUrl,
    advertise_addr: record.advertiseAddr,
    on_control_loss: record.onControlLoss,
    last_heartbeat_at: record.lastHeartbeatAt,
    reconciled_by: record.reconciledBy,
    reconciled_until: record.reconciledUntil,
    created_at: record.createdAt,
    updated_at: record.updatedAt,
  };
}

/** A worker of which nothing is known but its name. */
export function newWorker(id: string, now: number): WorkerRecord {
  return {
    id,
    version: 1,
    state: "pending",
    adminDrain: false,
    selfDrain: false,
    tenantId: null,
    credential: null,
    revokedBefore: null,
    build: null,
    session: null,
    sequence: 0,
    previousSession: null,
    labels: {},
    providersDigest: null,
    providers: [],
    images: [],
    capacity: NO_AMOUNTS,
    used: null,
    reserved: NO_AMOUNTS,
    previewDomain: null,
    previewUrl: null,
    publicUrl: null,
    advertiseAddr: null,
    onControlLoss: "run",
    lastHeartbeatAt: null,
    reconciledBy: null,
    reconciledUntil: null,
    createdAt: now,
    updatedAt: now,
  };
}
