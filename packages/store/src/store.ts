import { sql, type Kysely } from "kysely";
import { ClusterSecretRepository } from "./cluster-secret-repository.ts";
import { ControlPlaneRepository } from "./control-plane-repository.ts";
import { CreationRepository } from "./creation-repository.ts";
import { DeadlineRepository } from "./deadline-repository.ts";
import { DeliveryRepository } from "./delivery-repository.ts";
import { EventRepository } from "./event-repository.ts";
import { ExecLogRepository } from "./exec-log-repository.ts";
import { KeyRepository } from "./key-repository.ts";
import type { Engine, Singleton } from "./engine.ts";
import { LeaseRepository } from "./lease-repository.ts";
import { PortRepository } from "./port-repository.ts";
import { DEFAULT_RETENTION, purge, type Purged, type Retention } from "./retention.ts";
import { SandboxRepository } from "./sandbox-repository.ts";
import type { StoreClock } from "./store-clock.ts";
import type { Tables } from "./tables.ts";
import { WebhookRepository } from "./webhook-repository.ts";
import { WorkerIdentityRepository } from "./worker-identity-repository.ts";
import { WorkerRepository } from "./worker-repository.ts";

/** Everything that is kept. What a method resolved is on disk. */
export interface Store extends AsyncDisposable {
  readonly sandboxes: SandboxRepository;
  readonly creations: CreationRepository;
  readonly leases: LeaseRepository;
  readonly deadlines: DeadlineRepository;
  readonly events: EventRepository;
  readonly execLog: ExecLogRepository;
  readonly webhooks: WebhookRepository;
  readonly deliveries: DeliveryRepository;
  readonly keys: KeyRepository;
  readonly workers: WorkerRepository;
  readonly workerIdentities: WorkerIdentityRepository;
  readonly controlPlanes: ControlPlaneRepository;
  readonly ports: PortRepository;
  readonly clusterSecrets: ClusterSecretRepository;
  /** Removes one batch of history that is older than the retention. */
  purge(retention?: Retention): Promise<Purged>;
  /**
   * Runs what only one control plane may run at a time, for as long as this one has the right to; then the signal that `run`
   * gets is aborted, and the right is waited for again. On SQLite it simply runs. Resolves when the signal is aborted or
   * `run` ended by itself. A process that hangs may go on for a moment beside its successor: writes are still fenced.
   */
  readonly singleton: Singleton;
  /** Rejects when the database does not answer. */
  ping(): Promise<void>;
  /** Closes the database after what is under way. */
  close(): Promise<void>;
}

/** The store over any Kysely database that has our tables. */
export class KyselyStore implements Store {
  readonly sandboxes: SandboxRepository;
  readonly creations: CreationRepository;
  readonly leases: LeaseRepository;
  readonly deadlines: DeadlineRepository;
  readonly events: EventRepository;
  readonly execLog: ExecLogRepository;
  readonly webhooks: WebhookRepository;
  readonly deliveries: DeliveryRepository;
  readonly keys: KeyRepository;
  readonly workers: WorkerRepository;
  readonly workerIdentities: WorkerIdentityRepository;
  readonly controlPlanes: ControlPlaneRepository;
  readonly ports: PortRepository;
  readonly clusterSecrets: ClusterSecretRepository;
  readonly singleton: Singleton;
  readonly #db: Kysely<Tables>;
  readonly #clock: StoreClock;
  readonly #engine: Engine;

  constructor(db: Kysely<Tables>, clock: StoreClock, engine: Engine) {
    this.#db = db;
    this.#clock = clock;
    this.#engine = engine;
    const { locks } = engine;
    this.singleton = engine.singleton;
    this.events = new EventRepository(db, clock, engine.order);
    this.sandboxes = new SandboxRepository(db, { clock, events: this.events, engine });
    this.creations = new CreationRepository(db, clock, this.events);
    this.leases = new LeaseRepository(db, clock, this.events);
    this.deadlines = new DeadlineRepository(db, clock, locks);
    this.execLog = new ExecLogRepository(db, clock, this.events, engine);
    this.webhooks = new WebhookRepository(db, clock, this.events, locks);
    this.deliveries = new DeliveryRepository(db, clock);
    this.keys = new KeyRepository(db);
    this.workerIdentities = new WorkerIdentityRepository(db, clock, this.events);
    this.workers = new WorkerRepository(db, clock, this.events);
    this.controlPlanes = new ControlPlaneRepository(db, clock);
    this.ports = new PortRepository(db, clock, this.events);
    this.clusterSecrets = new ClusterSecretRepository(db, clock);
  }

  async purge(retention: Retention = DEFAULT_RETENTION): Promise<Purged> {
    await this.#engine.order.settle();
    return purge(this.#db, this.#clock.now(), retention);
  }

  async ping(): Promise<void> {
    await sql`select 1`.execute(this.#db);
  }

  async close(): Promise<void> {
    await this.#engine.close();
    await this.#db.destroy();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
