import { CaissonError, isCaissonError, workerTransition, type Clock, type SandboxState } from "@caisson/contract";
import type { Store } from "@caisson/store";
import type { Cleaner } from "../cleaner.ts";
import type { Logger } from "../logger.ts";
import { Loop } from "../loop.ts";
import type { Starter } from "../starter.ts";
import type { StateWriter } from "../state-writer.ts";
import type { FleetSettings } from "./fleet-settings.ts";
import type { LinkSessions } from "./link-sessions.ts";
import type { WorkerDirectory } from "./worker-directory.ts";

/** Rest between two looks at workers, in ms. */
const LOOK_EVERY_MS = 5_000;
/** Rest between two looks for creations that nobody drives, in ms. */
const CREATIONS_EVERY_MS = 1_000;
/** A monitor that was not there for this long hears of silence anew, in ms. */
const ABSENT_MS = 15_000;
/** Sandboxes changed in one look. */
const BATCH = 500;

const ALIVE = ["running", "unhealthy", "pausing", "paused", "resuming"] as const satisfies readonly SandboxState[];
const ENDED = ["error", "stopped", "expired", "destroyed"] as const satisfies readonly SandboxState[];

/** What a monitor needs. */
export interface WorkerMonitorOptions {
  readonly clock: Clock;
  readonly store: Store;
  readonly states: StateWriter;
  readonly starter: Starter;
  readonly cleaner: Cleaner;
  readonly directory: WorkerDirectory;
  readonly sessions: LinkSessions;
  readonly settings: FleetSettings;
  readonly logger: Logger;
}

/**
 * Watches what the database tells of workers. It runs on every control plane; all its writes are fenced, so doing it twice is
 * harmless. Silence counts from when this monitor began to listen: neither one that was stopped for a while nor a database that
 * was away is the workers' fault.
 */
export class WorkerMonitor {
  readonly #options: WorkerMonitorOptions;
  readonly #workers: Loop;
  readonly #creations: Loop;
  #listeningSince: number | undefined;
  #lookedAt = 0;

  constructor(options: WorkerMonitorOptions) {
    this.#options = options;
    const { clock, logger } = options;
    this.#workers = new Loop({ name: "workers", clock, logger, round: () => this.#look() });
    this.#creations = new Loop({ name: "creations", clock, logger, round: () => this.#takeOver() });
  }

  /** Runs until the signal is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#workers.run(signal), this.#creations.run(signal)]);
  }

  /** Looks now. */
  nudge(): void {
    this.#workers.nudge();
  }

  async #look(): Promise<number> {
    const { clock, sessions, settings } = this.#options;
    const now = clock.monotonic();
    if (this.#listeningSince === undefined || now - this.#lookedAt > ABSENT_MS) this.#listeningSince = now;
    const listening = now - this.#listeningSince;
    let full = false;
    try {
      if (listening >= settings.unreachableAfterMs) await this.#unreachable();
      if (listening >= settings.lateAfterMs) full = await this.#late();
      if (await this.#lost()) full = true;
      await this.#removed();
      await sessions.review();
    } catch (error) {
      // Where one cannot look, nobody could write that he was heard either.
      if (isCaissonError(error, "database_unavailable")) this.#listeningSince = undefined;
      throw error;
    }
    this.#lookedAt = clock.monotonic();
    return full ? 0 : LOOK_EVERY_MS;
  }

  /** Workers that are silent for too long. */
  async #unreachable(): Promise<void> {
    const { directory, logger, settings, store } = this.#options;
    for (const worker of await store.workers.silent(settings.unreachableAfterMs)) {
      const data = { from: worker.state, last_heartbeat_at: worker.lastHeartbeatAt };
      const written = await store.workers.change(worker.id, worker.version, {
        state: workerTransition(worker.state, "silent"),
        silentMs: settings.unreachableAfterMs,
        event: { type: "worker.unreachable", data },
      });
      if (written === undefined) continue; // it was heard, or somebody else wrote
      directory.forget();
      logger.warn({ worker_id: worker.id, ...data }, "the worker cannot be reached");
    }
  }

  /** Sandboxes of workers that are late; whether there are more. */
  async #late(): Promise<boolean> {
    const { settings, states, store } = this.#options;
    const late = await store.workers.silent(settings.lateAfterMs);
    if (late.length === 0) return false;
    const workers = late.map(({ id }) => id);
    const found = await store.leases.sandboxesOf({ ids: workers }, ["running"], BATCH);
    for (const sandbox of found) {
      const reason = { code: "worker_unavailable", message: `Its worker ${sandbox.workerId} has not been heard of lately.` };
      await states.observe(sandbox, "agent_lost", { reason });
    }
    return found.length === BATCH;
  }

  /** Sandboxes of workers that cannot be reached or are removed; whether there are more. */
  async #lost(): Promise<boolean> {
    const { cleaner, states, store } = this.#options;
    const missing = await store.leases.sandboxesOf({ states: ["unreachable"] }, ALIVE, BATCH);
    for (const sandbox of missing) await states.observe(sandbox, "worker_unreachable");
    const without = await store.leases.sandboxesOf({ states: ["removed"] }, ["creating", "missing", ...ALIVE], BATCH);
    for (const sandbox of without) await states.observe(sandbox, "destroy_requested");
    const ended = await store.leases.sandboxesOf({ states: ["unreachable", "removed"] }, ENDED, BATCH);
    await Promise.all(ended.map((sandbox) => cleaner.clean(sandbox)));
    return Math.max(missing.length, without.length) === BATCH;
  }

  /** Links here of workers that were removed somewhere. */
  async #removed(): Promise<void> {
    const { sessions, store } = this.#options;
    if (sessions.workerIds().length === 0) return;
    const removed = new Set((await store.workers.list({ states: ["removed"] })).map(({ id }) => id));
    for (const workerId of sessions.workerIds()) {
      if (removed.has(workerId)) sessions.end(new CaissonError("unauthorized", `The worker ${workerId} was removed.`), workerId);
    }
  }

  /** Creations whose control plane died, or cannot say that it lives. */
  async #takeOver(): Promise<number> {
    const { starter, store } = this.#options;
    for (const sandbox of await store.creations.undriven(BATCH)) void starter.takeOver(sandbox);
    return CREATIONS_EVERY_MS;
  }
}
