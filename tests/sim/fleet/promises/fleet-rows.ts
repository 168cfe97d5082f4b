import type { Amounts, SandboxState, WorkerState } from "@caisson/contract";
import type { Row } from "../../sim-database.ts";

/** What is written of a sandbox. */
export interface SandboxRow {
  readonly id: string;
  readonly version: number;
  readonly epoch: number;
  readonly state: SandboxState;
  readonly workerId: string;
  readonly expiresAt: number;
  readonly tenantId: string | null;
  readonly asked: { readonly worker_id?: string; readonly worker_labels?: Readonly<Record<string, string>> };
}

/** What is written of a lease. */
export interface Lease {
  readonly workerId: string;
  readonly epoch: number;
  readonly amounts: Amounts;
}

/** What is written of a worker. */
export interface WorkerRow {
  readonly state: WorkerState;
  readonly adminDrain: boolean;
  readonly selfDrain: boolean;
  readonly reserved: Amounts;
  readonly capacity: Amounts;
  readonly tenantId: string | null;
  readonly labels: Readonly<Record<string, string>>;
}

export function sandboxRow(row: Row): SandboxRow {
  const placement = JSON.parse(String(row["placement"])) as { readonly asked?: SandboxRow["asked"] } | null;
  return {
    id: String(row["id"]),
    version: Number(row["version"]),
    epoch: Number(row["epoch"]),
    state: String(row["state"]) as SandboxState,
    workerId: String(row["worker_id"]),
    expiresAt: Number(row["expires_at"]),
    tenantId: row["tenant_id"] === null ? null : String(row["tenant_id"]),
    asked: placement?.asked ?? {},
  };
}

export function leaseRow(row: Row): Lease {
  const amounts = { vcpus: Number(row["vcpus"]), memory_mb: Number(row["memory_mb"]), disk_mb: Number(row["disk_mb"]), sandboxes: 1 };
  return { workerId: String(row["worker_id"]), epoch: Number(row["epoch"]), amounts };
}

export function workerRow(row: Row): WorkerRow {
  return {
    state: String(row["state"]) as WorkerState,
    adminDrain: row["admin_drain"] === 1,
    selfDrain: row["self_drain"] === 1,
    tenantId: row["tenant_id"] === null ? null : String(row["tenant_id"]),
    labels: JSON.parse(String(row["labels"])) as Record<string, string>,
    capacity: JSON.parse(String(row["capacity"])) as Amounts,
    reserved: {
      vcpus: Number(row["reserved_vcpus"]),
      memory_mb: Number(row["reserved_memory_mb"]),
      disk_mb: Number(row["reserved_disk_mb"]),
      sandboxes: Number(row["reserved_sandboxes"]),
    },
  };
}
