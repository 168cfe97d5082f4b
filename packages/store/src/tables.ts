import type { Generated } from "kysely";

/** One row per sandbox, ended ones included until retention removes them. Times are integer ms since the Unix epoch. */
export interface SandboxTable {
  id: string;
  /** Grows by one with every write; every write names the version it read. */
  version: number;
  /** The right to run it; grows whenever an older holder must lose it. */
  epoch: number;
  state: string;
  reason_code: string | null;
  reason_message: string | null;
  worker_id: string;
  owner_id: string | null;
  tenant_id: string | null;
  /** JSON of `PlacementRecord`: why it is on its worker, and what it asked of workers; null on rows of old. */
  placement: string | null;
  /** JSON of `SandboxSpec`. */
  spec: string;
  /** JSON of the environment; null once the sandbox has ended, so that secrets do not outlive it. */
  env: string | null;
  /** JSON of the labels; `sandbox_metadata` repeats them for filters. */
  metadata: string;
  runtime: string | null;
  image_digest: string | null;
  preview_domain: string | null;
  created_at: number;
  updated_at: number;
  /** First time it ran. */
  started_at: number | null;
  expires_at: number;
  /** When a transitional state is forced to end; null in the others. */
  deadline_at: number | null;
  ended_at: number | null;
  /** Which control plane drives its creation, and until when that holds; null in other states. */
  driver: string | null;
  driver_until: number | null;
  /** Which control plane ends it because it is due, and until when that holds; null before. */
  reaper: string | null;
  reaper_until: number | null;
}

/** Labels, one row each. */
export interface SandboxMetadataTable {
  sandbox_id: string;
  key: string;
  value: string;
}

/** The right of one worker to run one sandbox. Kept until that worker confirmed that nothing is left. */
export interface LeaseTable {
  sandbox_id: string;
  worker_id: string;
  epoch: number;
  acquired_at: number;
  /** What it promised; the counters of its worker are the sums. */
  memory_mb: number;
  vcpus: number;
  disk_mb: number;
}

/** Which sandbox an Idempotency-Key made. */
export interface IdempotencyKeyTable {
  key: string;
  /** SHA-256 of the request, hex. */
  request_hash: string;
  sandbox_id: string;
  expires_at: number;
}

/** Changes in order. */
export interface EventTable {
  seq: Generated<number>;
  type: string;
  /** Id of what changed; its kind is the first word of the type. */
  resource_id: string;
  /** The sandbox it is or is in; null for what is in none. */
  sandbox_id: string | null;
  at: number;
  /** JSON object. */
  data: string;
}

/** Processes that were started in sandboxes; kept after the sandbox, until retention removes them. */
export interface ExecLogTable {
  sandbox_id: string;
  process_id: number;
  /** One of `PROCESS_KINDS`. */
  kind: string;
  command: string;
  /** JSON array of strings. */
  args: string;
  /** 1: more was given than is kept. */
  cut: number;
  user: string | null;
  workdir: string | null;
  started_at: number;
  ended_at: number | null;
  /** JSON of `ProcessExit`; null while it runs, and when its end was not seen. */
  exit: string | null;
  /** Name of the key of who started it. */
  key_name: string | null;
  request_id: string | null;
}

/** Those who are told of events. */
export interface WebhookTable {
  id: string;
  url: string;
  /** JSON array of patterns. */
  events: string;
  sandbox_id: string | null;
  /** 1 or 0. */
  active: number;
  /** `whsec_` and base64: it signs, so it cannot be kept as a hash. */
  secret: string;
  /** The secret before; signs too until its time. */
  old_secret: string | null;
  old_secret_until: number | null;
  /** Events up to this `seq` became messages, or were not wanted. */
  position: number;
  /** Who may send now, and until when. */
  lease_owner: string | null;
  lease_until: number | null;
  created_at: number;
  updated_at: number;
}

/** Messages to webhooks; of each they are sent in the order of `seq`. */
export interface DeliveryTable {
  seq: Generated<number>;
  id: string;
  webhook_id: string;
  type: string;
  event_seq: number | null;
  /** JSON as it is sent. */
  body: string;
  /** One of `DELIVERY_STATUSES`. */
  status: string;
  attempts: number;
  created_at: number;
  last_attempt_at: number | null;
  /** Null when it is finished. */
  next_attempt_at: number | null;
  response_code: number | null;
  response_body: string | null;
  error: string | null;
  duration_ms: number | null;
}

/** API keys; the secret itself is never stored. */
export interface ApiKeyTable {
  id: string;
  name: string;
  /** `api` or `admin`. */
  role: string;
  /** SHA-256 of the secret, hex. */
  hash: string;
  created_at: number;
}

/** Workers that were added or heard of; removed ones stay while a lease or an event may name them, until retention removes them. */
export interface WorkerTable {
  id: string;
  /** Grows by one with every write that is fenced; heartbeats do not touch it. */
  version: number;
  /** One of `WORKER_STATES`. */
  state: string;
  /** 1: an admin drains it. */
  admin_drain: number;
  /** 1: it drains itself, because it shuts down. */
  self_drain: number;
  tenant_id: string | null;
  /** One of `WORKER_CREDENTIALS`; null until it showed one. */
  credential: string | null;
  /** Certificates and tokens issued before this time are refused; null when nothing was revoked. */
  revoked_before: number | null;
  build: string | null;
  /** Random id of the worker's present run, and the highest heartbeat of it. */
  session: string | null;
  sequence: number;
  /** The run before: what is late of it is refused. */
  previous_session: string | null;
  /** JSON of labels. */
  labels: string;
  providers_digest: string | null;
  /** JSON array of provider reports. */
  providers: string;
  /** JSON array of image names. */
  images: string;
  /** JSON of `Amounts`: what it has, and what was in use at the last heartbeat. */
  capacity: string;
  used: string | null;
  /** What its leases were promised; changed in the transaction that makes, moves or ends a lease. */
  reserved_sandboxes: number;
  reserved_memory_mb: number;
  reserved_vcpus: number;
  reserved_disk_mb: number;
  preview_domain: string | null;
  preview_url: string | null;
  public_url: string | null;
  advertise_addr: string | null;
  on_control_loss: string;
  last_heartbeat_at: number | null;
  /** Which control plane reconciles it, and until when that holds. */
  reconciled_by: string | null;
  reconciled_until: number | null;
  created_at: number;
  updated_at: number;
}

/** One-time tokens for registering a worker; the token itself is never stored. */
export interface WorkerInvitationTable {
  id: string;
  /** Null: the worker names itself. */
  worker_id: string | null;
  tenant_id: string | null;
  /** SHA-256 of the token, hex. */
  hash: string;
  created_at: number;
  expires_at: number;
  used_at: number | null;
  /** Which worker used it, and the thumbprint of its key: only that key may repeat a registration whose answer was lost. */
  used_by: string | null;
  key_thumbprint: string | null;
}

/** Refresh tokens of workers. Of one family only the newest, and the one before until the newest was used, are good. */
export interface WorkerRefreshTokenTable {
  id: string;
  worker_id: string;
  /** All tokens that came one from another. */
  family: string;
  /** SHA-256 of the token, hex. */
  hash: string;
  /** Thumbprint of the worker's key (RFC 7638): the token is worth nothing without that key. */
  key_thumbprint: string;
  /** The token it was got with; null for the first. */
  parent_id: string | null;
  created_at: number;
  expires_at: number;
  /** When its worker was seen with what was issued beside it: from then on its parent is revoked. */
  confirmed_at: number | null;
  revoked_at: number | null;
}

/** Nonces that were proven, until they are over by themselves: on no control plane is one taken twice. */
export interface UsedNonceTable {
  nonce: string;
  expires_at: number;
}

/** Control planes that share this database and are alive. */
export interface ControlPlaneTable {
  /** Random id of this run of its process. */
  id: string;
  url: string;
  build: string;
  started_at: number;
  last_seen_at: number;
}

/** Keys that all control planes share: the installation's authority, the keys that sign tokens. */
export interface ClusterSecretTable {
  name: string;
  value: string;
  created_at: number;
}

/** Ports whose visibility was set; gone with the end of their sandbox. */
export interface PortTable {
  sandbox_id: string;
  port: number;
  /** 1: its preview needs no key and no token. */
  public: number;
  updated_at: number;
}

/** The tables of the database. */
export interface Tables {
  sandboxes: SandboxTable;
  sandbox_metadata: SandboxMetadataTable;
  leases: LeaseTable;
  idempotency_keys: IdempotencyKeyTable;
  events: EventTable;
  exec_log: ExecLogTable;
  webhooks: WebhookTable;
  webhook_deliveries: DeliveryTable;
  api_keys: ApiKeyTable;
  workers: WorkerTable;
  worker_invitations: WorkerInvitationTable;
  worker_refresh_tokens: WorkerRefreshTokenTable;
  used_nonces: UsedNonceTable;
  control_planes: ControlPlaneTable;
  cluster_secrets: ClusterSecretTable;
  ports: PortTable;
}
