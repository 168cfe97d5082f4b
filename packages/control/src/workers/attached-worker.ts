import { createHash } from "node:crypto";
import { toCaissonError, type Clock, type Heartbeat, type Random, type SandboxHost } from "@caisson/contract";
import { NO_AMOUNTS, type Store } from "@caisson/store";
import type { Logger } from "../logger.ts";
import { Loop } from "../loop.ts";
import { withDeadline } from "../with-deadline.ts";
import type { LinkSessions } from "./link-sessions.ts";
import type { WorkerSession } from "./worker-sessions.ts";

/** Time between two heartbeats, in ms. */
const HEARTBEAT_MS = 10_000;
/** Rest after a heartbeat that failed, in ms. */
const RETRY_MS = 2_000;
/** Time a worker has to say how it is, in ms. */
const DESCRIBE_MS = 15_000;

/** What a worker says of itself, without the order of its heartbeats. */
export type WorkerFacts = Omit<Heartbeat, "session" | "sequence">;

/** What an attached worker needs. */
export interface AttachedWorkerOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly store: Store;
  readonly sessions: LinkSessions;
  readonly logger: Logger;
  readonly host: SandboxHost;
  /** What it is now. Default: what it describes, without bounds. */
  readonly facts?: (signal: AbortSignal) => Promise<WorkerFacts>;
}

/** A worker in this very process, or one that is asked instead of telling: its heartbeats are made here. */
export class AttachedWorker {
  readonly #options: AttachedWorkerOptions;
  readonly #loop: Loop;
  readonly #run: string;
  readonly #heard = Promise.withResolvers<void>();
  #session: WorkerSession | undefined;
  #sequence = 0;

  constructor(options: AttachedWorkerOptions) {
    this.#options = options;
    const { clock, logger, host, random } = options;
    this.#run = Buffer.from(random.bytes(16)).toString("hex");
    this.#loop = new Loop({ name: `heartbeat ${host.workerId}`, clock, logger, round: (signal) => this.#round(signal) });
  }

  /** Resolves when the first heartbeat was taken, or when there will be none. */
  get heard(): Promise<void> {
    return this.#heard.promise;
  }

  /** Runs until the signal is aborted, or the worker is removed. One that was removed before is taken back. */
  async run(signal: AbortSignal): Promise<void> {
    const { host, sessions } = this.#options;
    const { workerId } = host;
    if (!(await this.#add(signal))) return this.#heard.resolve();
    const session = sessions.openAs({ workerId, credential: "local", tenantId: null }, host);
    this.#session = session;
    try {
      await this.#loop.run(AbortSignal.any([signal, session.ended]));
    } finally {
      session.close();
      this.#heard.resolve();
    }
  }

  /** Makes its row; whether it could before the signal was aborted. */
  async #add(signal: AbortSignal): Promise<boolean> {
    const { clock, host, logger, store } = this.#options;
    while (!signal.aborted) {
      try {
        await store.workers.add(host.workerId, { tenantId: null });
        return true;
      } catch (error) {
        logger.error({ worker_id: host.workerId, outcome: toCaissonError(error).code, err: error }, "a worker was not added");
        await clock.sleep(RETRY_MS, signal).catch(() => undefined); // the signal is looked at next
      }
    }
    return false;
  }

  async #round(signal: AbortSignal): Promise<number> {
    const { clock, facts, host, logger } = this.#options;
    try {
      const deadline = { clock, ms: DESCRIBE_MS, what: `word of ${host.workerId}`, signal };
      const told = await withDeadline(deadline, (inner) => facts?.(inner) ?? described(host, clock.now(), inner));
      this.#sequence += 1;
      await this.#session?.heartbeat({ ...told, session: this.#run, sequence: this.#sequence });
      this.#heard.resolve();
    } catch (error) {
      const outcome = toCaissonError(error);
      if (!signal.aborted) logger.warn({ worker_id: host.workerId, outcome: outcome.code, err: error }, "a heartbeat failed");
      return RETRY_MS;
    }
    return HEARTBEAT_MS;
  }
}

async function described(host: SandboxHost, now: number, signal: AbortSignal): Promise<WorkerFacts> {
  const { previewDomain, providers, version } = await host.describe(signal);
  return {
    version,
    now,
    draining: false,
    labels: {},
    capacity: NO_AMOUNTS,
    used: NO_AMOUNTS,
    providers_digest: digestOf(providers),
    providers: [...providers],
    images: [],
    preview_domain: previewDomain,
    preview_url: null,
    public_url: null,
    advertise_addr: null,
    on_control_loss: "run",
  };
}

function digestOf(providers: unknown): string {
  return createHash("sha256").update(JSON.stringify(providers)).digest("hex");
}
