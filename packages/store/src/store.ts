import { sql, type Kysely } from "kysely";
import { ClusterSecretRepository } from "./cluster-secret-repository.ts";
import { DeliveryRepository } from "./delivery-repository.ts";
import { EventRepository } from "./event-repository.ts";
import { ExecLogRepository } from "./exec-log-repository.ts";
import { KeyRepository } from "./key-repository.ts";
import type { LazyTransaction } from "./lazy-transaction.ts";
import { PortRepository } from "./port-repository.ts";
import { DEFAULT_RETENTION, purge, type Purged, type Retention } from "./retention.ts";
import { SandboxRepository, type StoreClock } from "./sandbox-repository.ts";
import type { Tables } from "./tables.ts";
import { WebhookRepository } from "./webhook-repository.ts";
import { WorkerIdentityRepository } from "./worker-identity-repository.ts";
import { WorkerRepository } from "./worker-repository.ts";

/** Everything that is kept. What a method resolved is on disk. */
export interface Store extends AsyncDisposable {
  readonly sandboxes: SandboxRepository;
  readonly events: EventRepository;
  readonly execLog: ExecLogRepository;
  readonly webhooks: WebhookRepository;
  readonly deliveries: DeliveryRepository;
  readonly keys: KeyRepository;
  readonly workers: WorkerRepository;
  readonly workerIdentities: WorkerIdentityRepository;
  readonly ports: PortRepository;
  readonly clusterSecrets: ClusterSecretRepository;
  /** Removes one batch of history that is older than the retention. */
  purge(retention?: Retention): Promise<Purged>;
  /** Rejects when the database does not answer. */
  ping(): Promise<void>;
  /** Closes the database after what is under way. */
  close(): Promise<void>;
}

/** The store over any Kysely database that has our tables. */
export class KyselyStore implements Store {
  readonly sandboxes: SandboxRepository;
  readonly events: EventRepository;
  readonly execLog: ExecLogRepository;
  readonly webhooks: WebhookRepository;
  readonly deliveries: DeliveryRepository;
  readonly keys: KeyRepository;
  readonly workers: WorkerRepository;
  readonly workerIdentities: WorkerIdentityRepository;
  readonly ports: PortRepository;
  readonly clusterSecrets: ClusterSecretRepository;
  readonly #db: Kysely<Tables>;
  readonly #clock: StoreClock;

  constructor(db: Kysely<Tables>, clock: StoreClock, lazily: LazyTransaction) {
    this.#db = db;
    this.#clock = clock;
    this.events = new EventRepository(db, clock);
    this.sandboxes = new SandboxRepository(db, clock, this.events);
    this.execLog = new ExecLogRepository(db, clock, this.events, lazily);
    this.webhooks = new WebhookRepository(db, clock, this.events);
    this.deliveries = new DeliveryRepository(db, clock);
    this.keys = new KeyRepository(db);
    this.workers = new WorkerRepository(db, clock);
    this.workerIdentities = new WorkerIdentityRepository(db, clock, this.events);
    this.ports = new PortRepository(db, clock, this.events);
    this.clusterSecrets = new ClusterSecretRepository(db, clock);
  }

  purge(retention: Retention = DEFAULT_RETENTION): Promise<Purged> {
    return purge(this.#db, this.#clock.now(), retention);
  }

  async ping(): Promise<void> {
    await sql`select 1`.execute(this.#db);
  }

  close(): Promise<void> {
    return this.#db.destroy();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
