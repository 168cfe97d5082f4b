export { openSqlite } from "./open-sqlite.ts";
export type { Store } from "./store.ts";
export type { LeasedSandbox, SandboxChange, SandboxFilter, SandboxRepository, StoreClock } from "./sandbox-repository.ts";
export type { Reason, SandboxRecord, SandboxSpec } from "./sandbox-record.ts";
export { hashKey, type ApiKeyRecord, type KeyRepository, type KeyRole } from "./key-repository.ts";
export type { EventFilter, EventPage, EventRepository, NewEvent } from "./event-repository.ts";
export type { WorkerRecord, WorkerRepository, WorkerState } from "./worker-repository.ts";
export { DEFAULT_RETENTION, type Purged, type Retention } from "./retention.ts";
export { IDEMPOTENCY_KEY_MS, type Idempotency, type Reservation, type ReserveSandbox } from "./reserve-sandbox.ts";
