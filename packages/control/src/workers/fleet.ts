import { isRouted, toCaissonError, type Clock, type Random, type SandboxHost } from "@caisson/contract";
import type { ControlPlaneRecord, SandboxRecord, Store } from "@caisson/store";
import type { Cleaner } from "../cleaner.ts";
import type { ConnectedHosts } from "../hosts.ts";
import type { Logger } from "../logger.ts";
import type { ProcessRecorder } from "../process-recorder.ts";
import { Reconciler } from "../reconciler.ts";
import type { Starter } from "../starter.ts";
import type { StateWriter } from "../state-writer.ts";
import { AttachedWorker, type WorkerFacts } from "./attached-worker.ts";
import { ControlPlaneRegistry } from "./control-plane-registry.ts";
import type { FleetSettings } from "./fleet-settings.ts";
import { FarWorkers } from "./far-workers.ts";
import { LinkSessions, type LinkSessionsOptions } from "./link-sessions.ts";
import { Refusals } from "./refusals.ts";
import type { WorkerDirectory } from "./worker-directory.ts";
import { WorkerHeartbeats, type WorkerHeartbeatsOptions } from "./worker-heartbeats.ts";
import { WorkerMonitor } from "./worker-monitor.ts";

/** Rest between two reconciliations of a worker, in ms. */
const RECONCILE_EVERY_MS = 10_000;

/** What a fleet needs. */
export interface FleetOptions extends Pick<LinkSessionsOptions, "identities" | "portAccess" | "changed"> {
  readonly clock: Clock;
  readonly random: Random;
  readonly store: Store;
  readonly hosts: ConnectedHosts;
  readonly directory: WorkerDirectory;
  readonly states: StateWriter;
  readonly starter: Starter;
  readonly cleaner: Cleaner;
  readonly recorder: ProcessRecorder;
  readonly settings: FleetSettings;
  readonly self: ControlPlaneRecord;
  readonly keys: WorkerHeartbeatsOptions["keys"];
  readonly logger: Logger;
  /** Ends all loops. */
  readonly signal: AbortSignal;
}

interface Followed {
  readonly reconciler: Reconciler;
  readonly stop: AbortController;
}

/** All workers as they come and go, and what is done about them: heartbeats, reconciliation, judgement of silence. */
export class Fleet {
  readonly sessions: LinkSessions;
  readonly heartbeats: WorkerHeartbeats;
  readonly refusals: Refusals;
  readonly farWorkers: FarWorkers;
  readonly #options: FleetOptions;
  readonly #monitor: WorkerMonitor;
  readonly #registry: ControlPlaneRegistry;
  readonly #followed = new Map<string, Followed>();
  readonly #attached = new Set<AttachedWorker>();
  /** Loops that run now. */
  readonly #running = new Set<Promise<void>>();
  #started = false;

  constructor(options: FleetOptions) {
    this.#options = options;
    const { clock, directory, hosts, keys, logger, self, settings, store } = options;
    this.refusals = new Refusals({ clock, store, logger });
    this.#registry = new ControlPlaneRegistry({ clock, store, logger, self, gone: (ids) => this.#inherit(ids) });
    this.farWorkers = new FarWorkers({ clock, store, hosts, logger, siblings: () => this.#registry.siblings });
    const { refusals } = this;
    this.heartbeats = new WorkerHeartbeats({ clock, store, settings, controlPlanes: this.#registry, directory, refusals, logger, keys });
    this.sessions = new LinkSessions({
      clock,
      store,
      hosts,
      heartbeats: this.heartbeats,
      refusals,
      logger,
      lateAfterMs: settings.lateAfterMs,
      back: (workerId) => this.#followed.get(workerId)?.reconciler.nudge(),
      doubted: (sandbox) => this.recheck(sandbox),
      changed: options.changed,
      portAccess: options.portAccess,
      ...(options.identities === undefined ? {} : { identities: options.identities }),
    });
    this.#monitor = new WorkerMonitor({ ...options, sessions: this.sessions });
  }

  /** Begins all loops. Resolves when every worker that is attached was heard and every one that is there was reconciled once. */
  async start(): Promise<void> {
    const { hosts, signal } = this.#options;
    this.#started = true;
    const unfollow = hosts.onChange((workerId) => this.#follow(workerId));
    signal.addEventListener("abort", unfollow, { once: true });
    for (const workerId of hosts.ids()) this.#follow(workerId);
    this.#run(this.#registry.run(signal));
    this.#run(this.farWorkers.run(signal));
    this.#run(this.#monitor.run(signal));
    const attached = [...this.#attached];
    for (const worker of attached) this.#run(worker.run(signal));
    await Promise.all(attached.map((worker) => worker.heard));
    await Promise.all([...this.#followed.values()].map(({ reconciler }) => reconciler.firstRound));
  }

  /** Resolves when all loops have ended. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  /** Adds a worker that has no link: its heartbeats are made here, until the fleet ends or it is removed. */
  attach(host: SandboxHost, facts?: (signal: AbortSignal) => Promise<WorkerFacts>): void {
    const { clock, directory, logger, random, signal, store } = this.#options;
    const parts = { clock, random, store, logger, sessions: this.sessions, host };
    const worker = new AttachedWorker({ ...parts, ...(facts === undefined ? {} : { facts }) });
    this.#attached.add(worker);
    directory.expect(worker.heard);
    if (this.#started) this.#run(worker.run(signal));
  }

  /** Asks a worker about one of its sandboxes that gave trouble, and writes what it says. Never rejects. */
  async recheck(sandbox: SandboxRecord): Promise<void> {
    await this.#followed.get(sandbox.workerId)?.reconciler.recheck(sandbox);
  }

  #follow(workerId: string): void {
    const { clock, cleaner, hosts, logger, self, signal, starter, states, store } = this.#options;
    const there = hosts.get(workerId) !== undefined;
    const followed = this.#followed.get(workerId);
    if (!there) {
      followed?.stop.abort();
      this.#followed.delete(workerId);
      return;
    }
    if (followed !== undefined) return followed.reconciler.nudge();
    if (signal.aborted) return;
    const stop = new AbortController();
    const reconciler = new Reconciler({
      clock,
      cleaner,
      hosts,
      logger,
      starter,
      states,
      store,
      workerId,
      self: self.id,
      refusals: this.refusals,
      everyMs: RECONCILE_EVERY_MS,
      signal: AbortSignal.any([signal, stop.signal]),
      taken: (id) => this.#run(this.#takeOver(id, "start")),
    });
    this.#followed.set(workerId, { reconciler, stop });
    this.#run(reconciler.run());
  }

  /** Others have died: what they did not write of processes is looked for on the workers that are ours to reconcile. */
  #inherit(ids: readonly string[]): void {
    this.#options.logger.info({ control_planes: ids }, "control planes have ended");
    for (const [workerId, { reconciler }] of this.#followed) {
      reconciler.nudge();
      if (reconciler.holds) this.#run(this.#takeOver(workerId, "death"));
    }
  }

  /** What another control plane, or a run before this one, did not write of processes in sandboxes that live. */
  async #takeOver(workerId: string, after: "start" | "death"): Promise<void> {
    const { logger, recorder, signal, store } = this.#options;
    try {
      const live = (await store.leases.ofWorker(workerId)).filter(({ sandbox }) => isRouted(sandbox.state));
      const ids = live.map(({ sandbox }) => sandbox.id);
      await (after === "start" ? recorder.takeOver(ids) : recorder.inherit(ids));
    } catch (error) {
      if (signal.aborted) return;
      logger.warn({ worker_id: workerId, outcome: toCaissonError(error).code, err: error }, "processes were not taken over");
    }
  }

  #run(loop: Promise<void>): void {
    const watched = this.#watch(loop);
    this.#running.add(watched);
    void watched.finally(() => this.#running.delete(watched));
  }

  async #watch(loop: Promise<void>): Promise<void> {
    try {
      await loop;
    } catch (error) {
      this.#options.logger.error({ outcome: toCaissonError(error).code, err: error }, "a loop ended");
    }
  }
}
