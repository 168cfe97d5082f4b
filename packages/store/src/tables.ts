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

/** Workers seen. */
export interface WorkerTable {
  id: string;
  /** `online` or `unreachable`. */
  state: string;
  version: string | null;
  last_seen_at: number;
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
  ports: PortTable;
}
