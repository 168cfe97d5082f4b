import {
  CaissonError,
  workerTransition,
  type Clock,
  type Heartbeat,
  type HeartbeatReply,
  type WorkerCredential,
  type WorkerState,
} from "@caisson/contract";
import type { BeatenWorker, Store, WorkerBeat } from "@caisson/store";
import { Allowance } from "../allowance.ts";
import type { Logger } from "../logger.ts";
import type { ControlPlaneRegistry } from "./control-plane-registry.ts";
import type { FleetSettings } from "./fleet-settings.ts";
import type { Refusals } from "./refusals.ts";
import type { WorkerDirectory } from "./worker-directory.ts";
import type { WorkerIdentities } from "./worker-identities.ts";

/** Heartbeats of one worker that are taken at once, and each second after that: a link that comes, goes and has news needs few. */
const PACE = { burst: 64, perSecond: 2, names: 4_096 } as const;

/** Workers whose trouble with their public address is remembered. */
const MOST_PROBLEMS = 4_096;

/** Whose heartbeat it is. */
export interface HeartbeatOf {
  readonly workerId: string;
  readonly credential: WorkerCredential;
  readonly tenantId: string | null;
}

/** What heartbeats need. */
export interface WorkerHeartbeatsOptions {
  /** The clock of the store: workers go by it where tokens end. */
  readonly clock: Pick<Clock, "now" | "monotonic">;
  readonly store: Store;
  readonly settings: FleetSettings;
  readonly controlPlanes: ControlPlaneRegistry;
  readonly directory: WorkerDirectory;
  readonly refusals: Refusals;
  readonly logger: Logger;
  /** Public keys that sign tokens for clients that come to a worker directly. */
  readonly keys: WorkerIdentities["publicKeys"];
}

/** Writes heartbeats into the rows of workers: one UPDATE of one row each, and a change of state where there is one. */
export class WorkerHeartbeats {
  readonly #options: WorkerHeartbeatsOptions;
  readonly #pace: Allowance;
  /** What workers last told of their public addresses, by their ids: only of those where something is wrong. */
  readonly #problems = new Map<string, string>();

  constructor(options: WorkerHeartbeatsOptions) {
    this.#options = options;
    this.#pace = new Allowance({ ...PACE, clock: options.clock });
  }

  /** Takes a heartbeat. `resource_limit` from a worker that floods, `unauthorized` from a removed worker, `lease_lost` from a run of it that another run replaced. */
  async take(of: HeartbeatOf, heartbeat: Heartbeat): Promise<{ readonly reply: HeartbeatReply; readonly before: WorkerState }> {
    const { clock, controlPlanes, keys, settings, store } = this.#options;
    const wait = this.#pace.take(of.workerId);
    if (wait > 0) throw new CaissonError("resource_limit", `The worker ${of.workerId} sends too many heartbeats.`, { retryAfter: wait });
    const beat = toBeat(of, heartbeat);
    const taken = (await store.workers.beat(of.workerId, beat, settings.lateAfterMs)) ?? (await this.#notTaken(of, beat));
    await this.#follow(of.workerId, taken, heartbeat.draining);
    this.#learn(of.workerId, heartbeat.public_url_problem ?? null);
    const reply = {
      lease_ms: settings.unreachableAfterMs,
      // One that does not know them itself yet says so by an empty digest.
      send_providers: heartbeat.providers_digest !== "" && taken.providersDigest !== heartbeat.providers_digest,
      drain: taken.adminDrain,
      control_planes: [...controlPlanes.reachable],
      keys: { keys: [...(await keys()).keys] },
      now: clock.now(),
    };
    return { reply, before: taken.state };
  }

  /** Why a worker does not find itself at its public address, as its last heartbeat here told; null when nothing is known to be wrong. */
  publicUrlProblem(workerId: string): string | null {
    return this.#problems.get(workerId) ?? null;
  }

  #learn(workerId: string, problem: string | null): void {
    this.#problems.delete(workerId);
    if (problem === null) return;
    const [oldest] = this.#problems.keys();
    if (this.#problems.size >= MOST_PROBLEMS && oldest !== undefined) this.#problems.delete(oldest);
    this.#problems.set(workerId, problem);
  }

  /** Why the row did not take a heartbeat: what to answer, or the error. */
  async #notTaken(of: HeartbeatOf, beat: WorkerBeat): Promise<BeatenWorker> {
    const { refusals, settings, store } = this.#options;
    const { workerId } = of;
    const seen = await store.workers.get(workerId);
    if (seen === undefined && of.credential !== "certificate") {
      // First word of a worker that nobody had to add.
      await store.workers.add(workerId, { tenantId: of.tenantId });
      const taken = await store.workers.beat(workerId, beat, settings.lateAfterMs);
      if (taken !== undefined) return taken;
    }
    if (seen === undefined || seen.state === "removed") {
      await refusals.report(workerId, "removed", { credential: of.credential });
      throw new CaissonError("unauthorized", `The worker ${workerId} was removed; it must be added and join again.`);
    }
    if (seen.session !== beat.session) {
      throw new CaissonError(
        "lease_lost",
        `Another run of the worker ${workerId} has taken over; stop one of the two, or revoke the worker if the other is none of yours.`,
      );
    }
    // Late or repeated: a newer one of this run was taken before.
    return seen;
  }

  async #follow(workerId: string, taken: BeatenWorker, draining: boolean): Promise<void> {
    const { directory, logger, store } = this.#options;
    const state = workerTransition(taken.state, draining || taken.adminDrain ? "heard_draining" : "heard");
    if (state === taken.state) return;
    const type = state === "draining" ? "worker.draining" : "worker.online";
    const data = { from: taken.state, by: state !== "draining" ? null : draining ? "worker" : "admin" };
    const written = await store.workers.change(workerId, taken.version, { state, event: { type, data } });
    directory.forget();
    if (written !== undefined) logger.info({ worker_id: workerId, from: taken.state, to: state }, "the state of a worker changed");
  }
}

function toBeat(of: HeartbeatOf, heartbeat: Heartbeat): WorkerBeat {
  const { providers, providers_digest: digest } = heartbeat;
  return {
    session: heartbeat.session,
    sequence: heartbeat.sequence,
    credential: of.credential,
    build: heartbeat.version,
    selfDrain: heartbeat.draining,
    labels: heartbeat.labels,
    capacity: heartbeat.capacity,
    used: heartbeat.used,
    ...(providers === undefined ? {} : { providers: { digest, reports: providers } }),
    images: heartbeat.images,
    previewDomain: heartbeat.preview_domain,
    previewUrl: heartbeat.preview_url,
    publicUrl: heartbeat.public_url,
    advertiseAddr: heartbeat.advertise_addr,
    onControlLoss: heartbeat.on_control_loss,
  };
}
