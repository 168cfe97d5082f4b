import type { Clock, Event, Heartbeat, Timer, Worker } from "@caisson/contract";
import { openSqlite, NO_AMOUNTS, type Store } from "@caisson/store";
import { SeededRandom, VirtualClock } from "@caisson/testkit";
import { ConnectedHosts } from "../hosts.ts";
import { Orchestrator, type OrchestratorOptions } from "../orchestrator.ts";
import type { WorkerIdentity } from "../workers/worker-identities.ts";
import type { WorkerSession } from "../workers/worker-sessions.ts";
import { MemoryHost, MemoryMachine } from "./memory-host.ts";

/** Part of what a control plane is given. */
export interface PlaneOptions extends Partial<Pick<OrchestratorOptions, "defaults" | "fleet" | "keys">> {
  /** What is not said is answered as for a credential that is good. Without any, none is looked at. */
  readonly identities?: Partial<Identities>;
}

type Identities = NonNullable<OrchestratorOptions["identities"]>;

const GOOD: Identities = {
  revoke: () => Promise.resolve(),
  stillGood: () => Promise.resolve(true),
  challenge: () => Promise.resolve("nonce"),
  renew: (identity) => Promise.resolve(identity),
};

/** One database in memory, machines, and control planes that come and die, on a clock that only tests move. */
export class FleetWorld implements AsyncDisposable {
  readonly clock: VirtualClock = new VirtualClock();
  readonly store: Store;
  readonly planes: Plane[] = [];
  readonly lines: { readonly message: string; readonly fields: object }[] = [];

  private constructor(open: (clock: Clock) => Store) {
    this.store = open(this.clock);
  }

  static async open(): Promise<FleetWorld> {
    const late: { clock?: Clock } = {};
    const store = await openSqlite({ path: ":memory:", clock: { now: () => late.clock?.now() ?? 0 } });
    return new FleetWorld((clock) => {
      late.clock = clock;
      return store;
    });
  }

  /** Starts another control plane on the database. */
  async plane(id: string, options: PlaneOptions = {}): Promise<Plane> {
    const plane = new Plane(this, id, options);
    this.planes.push(plane);
    await this.until(plane.orchestrator.start());
    return plane;
  }

  /** A machine that all these control planes hear and have a link to. */
  async worker(id: string, planes: readonly Plane[], more: Partial<Heartbeat> = {}): Promise<TestWorker> {
    const worker = new TestWorker(this, new MemoryMachine(id), more);
    for (const plane of planes) await worker.link(plane);
    await this.pass(0);
    return worker;
  }

  /** Lets time pass. */
  pass(ms: number): Promise<void> {
    return this.clock.advance(ms);
  }

  /** Lets time pass until the promise settles, for ten minutes at most. */
  async until<T>(promise: Promise<T>): Promise<T> {
    let settled = false;
    const mark = (): void => {
      settled = true;
    };
    promise.then(mark, mark);
    for (let passed = 0; !settled && passed < 600_000; passed += 10) await this.clock.advance(10);
    if (!settled) throw new Error("it did not settle within ten minutes");
    return promise;
  }

  /** The error that a promise rejects with. */
  failure(promise: Promise<unknown>): Promise<unknown> {
    return this.until(
      promise.then(
        (value) => {
          throw new Error(`it did not fail but gave ${JSON.stringify(value)}`);
        },
        (error: unknown) => error,
      ),
    );
  }

  /** Events of some types, oldest first. */
  async events(...types: readonly string[]): Promise<readonly Event[]> {
    return (await this.store.events.after(0, 10_000)).filter(({ type }) => types.length === 0 || types.includes(type));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const plane of this.planes) await this.until(plane.close());
    await this.store.close();
  }
}

/** A control plane of a world. */
export class Plane {
  readonly id: string;
  readonly hosts: ConnectedHosts = new ConnectedHosts();
  readonly orchestrator: Orchestrator;
  readonly #clock: MortalClock;

  constructor(world: FleetWorld, id: string, { identities, ...options }: PlaneOptions) {
    this.id = id;
    this.#clock = new MortalClock(world.clock);
    const line = (fields: object, message: string): void => void world.lines.push({ message, fields });
    this.orchestrator = new Orchestrator({
      clock: this.#clock,
      random: new SeededRandom(world.planes.length + 1),
      store: world.store,
      hosts: this.hosts,
      defaults: { image: "host", ttlMs: 3_600_000, maxTtlMs: 86_400_000, maxSandboxes: 0 },
      controlPlane: { id, url: `http://${id}`, build: "1" },
      logger: { debug: line, info: line, warn: line, error: line },
      guestOf: () => {
        throw new Error("there are no agents here");
      },
      ...(identities === undefined ? {} : { identities: { ...GOOD, ...identities } }),
      ...options,
    });
  }

  /** Dies as by `kill -9`: nothing it waits for by time ever happens again, and its links are cut. */
  kill(): void {
    this.#clock.stop();
    for (const id of this.hosts.ids()) {
      const host = this.hosts.get(id);
      if (host instanceof MemoryHost) host.cut = true;
    }
  }

  async close(): Promise<void> {
    if (!this.#clock.stopped) await this.orchestrator.close();
  }
}

/** The worker's process on a machine. */
export class TestWorker {
  readonly machine: MemoryMachine;
  readonly identity: WorkerIdentity;
  readonly links: Map<string, { readonly host: MemoryHost; readonly session: WorkerSession }> = new Map();
  /** Random in real life; another one after a restart. */
  run: string = "run-1";
  sequence: number = 0;
  readonly #more: Partial<Heartbeat>;
  readonly #world: FleetWorld;

  constructor(world: FleetWorld, machine: MemoryMachine, more: Partial<Heartbeat>) {
    this.#world = world;
    this.machine = machine;
    this.#more = more;
    const { workerId } = machine;
    const none = { tenantId: null, scopes: new Set<never>(), keyThumbprint: null, expiresAt: null, issuedAt: null, keyId: null };
    this.identity = { workerId, credential: "static", ...none };
  }

  get id(): string {
    return this.machine.workerId;
  }

  /** Links to a control plane and says that it is there. */
  async link(plane: Plane, identity: Partial<WorkerIdentity> = {}): Promise<WorkerSession> {
    const host = new MemoryHost(this.machine);
    const session = plane.orchestrator.sessions.open({ ...this.identity, ...identity }, host);
    this.links.set(plane.id, { host, session });
    await session.heartbeat(this.heartbeat());
    return session;
  }

  /** The next heartbeat. */
  heartbeat(more: Partial<Heartbeat> = {}): Heartbeat {
    this.sequence += 1;
    return {
      session: this.run,
      sequence: this.sequence,
      version: "1",
      now: 0,
      draining: false,
      labels: {},
      capacity: NO_AMOUNTS,
      used: NO_AMOUNTS,
      providers_digest: "d1",
      providers: this.machine.providers,
      images: [],
      preview_domain: null,
      preview_url: null,
      public_url: null,
      advertise_addr: null,
      on_control_loss: "run",
      ...this.#more,
      ...more,
    };
  }

  /** Says on all its links that it is there; what a control plane refuses is passed over. */
  async beat(): Promise<void> {
    await Promise.allSettled(
      [...this.links.values()].filter(({ host }) => !host.cut).map(({ session }) => session.heartbeat(this.heartbeat())),
    );
  }

  /** Lets time pass, with heartbeats every 10 s. */
  async live(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 10_000) {
      await this.#world.pass(Math.min(left, 10_000));
      await this.beat();
    }
    await this.#world.pass(1);
  }

  /** The network between it and all control planes breaks. */
  cutOff(): void {
    for (const { host, session } of this.links.values()) {
      host.cut = true;
      session.close();
    }
    this.links.clear();
  }

  /** As the API shows it. */
  shown(plane: Plane): Promise<Worker> {
    return plane.orchestrator.workers.get(this.id);
  }
}

/** Time that ends for one process. */
class MortalClock implements Clock {
  readonly #clock: Clock;
  stopped = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  stop(): void {
    this.stopped = true;
  }

  now(): number {
    return this.#clock.now();
  }

  monotonic(): number {
    return this.#clock.monotonic();
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    const slept = this.#clock.sleep(ms, signal);
    return new Promise((resolve, reject) => {
      slept.then(
        () => {
          if (!this.stopped) resolve();
        },
        (error: unknown) => {
          if (!this.stopped) reject(error as Error);
        },
      );
    });
  }

  schedule(ms: number, run: () => void): Timer {
    return this.#clock.schedule(ms, () => {
      if (!this.stopped) run();
    });
  }
}
