import {
  CaissonError,
  isCaissonError,
  toCaissonError,
  type ChallengeReply,
  type Clock,
  type Heartbeat,
  type HeartbeatReply,
  type PortAccess,
  type PortAccessReply,
  type ProcessesChanged,
  type Renewal,
  type Report,
  type SandboxHost,
  type Scope,
} from "@caisson/contract";
import type { SandboxRecord, Store } from "@caisson/store";
import type { ConnectedHosts } from "../hosts.ts";
import { Allowance } from "../allowance.ts";
import type { Logger } from "../logger.ts";
import type { Refusals } from "./refusals.ts";
import type { HeartbeatOf, WorkerHeartbeats } from "./worker-heartbeats.ts";
import type { WorkerIdentities, WorkerIdentity } from "./worker-identities.ts";
import type { WorkerSession } from "./worker-sessions.ts";

/** Reports about one sandbox that have it asked for at once, and each second after that; the next reconciliation sees the rest. */
const REPORTS = { burst: 8, perSecond: 0.5, names: 16_384 } as const;
/** Renewed tokens that are looked at at once, and each second after that: each costs signatures and writes. */
const RENEWALS = { burst: 8, perSecond: 1, names: 1 } as const;

/**
 * Calls of one worker, heartbeats apart, that are looked at, at once and each second after that: each is a few questions to the
 * database, which all workers share. What clients ask for at a worker directly is far less: it is gathered, or kept for a moment.
 */
export const CALLS = { burst: 1_024, perSecond: 256, names: 8_192 } as const;

/** Silence of a link after which its credential is looked at all the same, in ms: a heartbeat is overdue by then. */
const REVIEW_AFTER_MS = 15_000;

/** What a session needs. */
export interface LinkSessionOptions {
  readonly clock: Clock;
  readonly store: Store;
  readonly hosts: ConnectedHosts;
  readonly heartbeats: WorkerHeartbeats;
  readonly refusals: Refusals;
  readonly of: HeartbeatOf;
  /** What was shown; absent for a worker inside this process. */
  readonly identity?: WorkerIdentity;
  readonly identities?: Pick<WorkerIdentities, "stillGood" | "challenge" | "renew">;
  readonly host: SandboxHost;
  /** How often workers may call, over all their links. */
  readonly calls: Allowance;
  /** Silence after which a worker that is heard again is reconciled at once, in ms. */
  readonly lateAfterMs: number;
  /** It was heard for the first time, and counts from now on. */
  readonly begun: () => void;
  /** It is back after it was late or unreachable. */
  readonly back: (workerId: string) => void;
  /** Something happened to a sandbox of it. */
  readonly doubted: (sandbox: SandboxRecord) => Promise<void>;
  /** Processes of a sandbox changed past the control plane. */
  readonly changed: (sandbox: SandboxRecord, changed: ProcessesChanged) => Promise<void>;
  readonly portAccess: (sandboxId: string, port: number) => Promise<PortAccessReply["access"]>;
  readonly logger: Logger;
}

/** What one worker says over one link, checked against its leases. */
export class LinkSession implements WorkerSession {
  readonly #options: LinkSessionOptions;
  readonly #ended = new AbortController();
  readonly #reports: Allowance;
  readonly #renewals: Allowance;
  /** By the newest token that was shown. */
  #identity: WorkerIdentity | undefined;
  #takeAway: (() => void) | undefined;
  #run: string | undefined;
  /** When a heartbeat was taken last, at first when it was opened, in monotonic ms. */
  #heardAt: number;

  constructor(options: LinkSessionOptions) {
    this.#options = options;
    this.#heardAt = options.clock.monotonic();
    this.#identity = options.identity;
    this.#reports = new Allowance({ ...REPORTS, clock: options.clock });
    this.#renewals = new Allowance({ ...RENEWALS, clock: options.clock });
  }

  get workerId(): string {
    return this.#options.of.workerId;
  }

  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  get scopes(): ReadonlySet<Scope> {
    return this.#identity?.scopes ?? new Set();
  }

  /** The worker can be asked from now on. Idempotent. */
  begin(): void {
    if (this.#takeAway !== undefined || this.#ended.signal.aborted) return;
    // First the new way, then the end of the older one: there is no moment without any.
    this.#takeAway = this.#options.hosts.add(this.#options.host);
    this.#options.begun();
  }

  async heartbeat(heartbeat: Heartbeat): Promise<HeartbeatReply> {
    const { back, clock, heartbeats, lateAfterMs, of } = this.#options;
    this.#called("heartbeat");
    if (this.#run !== undefined && heartbeat.session !== this.#run) {
      throw new CaissonError("protocol_error", "A link carries the heartbeats of one run of a worker.");
    }
    try {
      await this.#checkCredential();
      const { reply, before } = await heartbeats.take(of, heartbeat);
      this.#ended.signal.throwIfAborted();
      const now = clock.monotonic();
      const silent = this.#run !== undefined && now - this.#heardAt > lateAfterMs;
      this.#heardAt = now;
      if (this.#run === undefined) {
        this.#run = heartbeat.session;
        this.begin();
      } else if (silent || before === "unreachable") back(of.workerId);
      return reply;
    } catch (error) {
      if (error instanceof CaissonError && (error.code === "unauthorized" || error.code === "lease_lost")) this.end(error);
      throw error;
    }
  }

  /** Ends it when its worker holds back its heartbeats and what it showed is good no more. */
  async review(): Promise<void> {
    if (this.#ended.signal.aborted || this.#options.clock.monotonic() - this.#heardAt < REVIEW_AFTER_MS) return;
    await this.#checkCredential().catch((error: unknown) => {
      if (!isCaissonError(error, "unauthorized")) throw error;
    });
  }

  async challenge(): Promise<ChallengeReply> {
    return { nonce: await this.#renewing().identities.challenge() };
  }

  async renew(renewal: Renewal): Promise<void> {
    const { logger, of } = this.#options;
    const { workerId } = of;
    const { identities, identity } = this.#renewing();
    const wait = this.#renewals.take(workerId);
    if (wait > 0) throw new CaissonError("resource_limit", `The worker ${workerId} renews its link too often.`, { retryAfter: wait });
    // What was revoked is not made good by what came later.
    await this.#checkCredential();
    try {
      const next = await identities.renew(identity, renewal);
      this.#ended.signal.throwIfAborted();
      // Of two at once the newer counts, whichever was looked at first.
      if ((next.issuedAt ?? 0) > (this.#identity?.issuedAt ?? 0)) this.#identity = next;
      logger.info({ worker_id: workerId, expires_at: next.expiresAt }, "a worker has renewed its link");
    } catch (thrown) {
      const error = toCaissonError(thrown);
      logger.warn({ worker_id: workerId, outcome: error.code, reason: error.message }, "a link was not renewed");
      throw error;
    }
  }

  async report(report: Report): Promise<void> {
    const sandbox = await this.#owned(report);
    // Each may change a row and be an event.
    if (this.#reports.take(sandbox.id) === 0) await this.#options.doubted(sandbox);
  }

  async processesChanged(changed: ProcessesChanged): Promise<void> {
    await this.#options.changed(await this.#owned(changed), changed);
  }

  async portAccess(asked: PortAccess): Promise<PortAccessReply> {
    await this.#owned(asked);
    return { access: await this.#options.portAccess(asked.sandbox_id, asked.port) };
  }

  close(): void {
    this.end(new CaissonError("worker_unavailable", "The link has ended."));
  }

  /** Ends the session: the worker cannot be asked this way any more. Idempotent. */
  end(reason: CaissonError): void {
    if (this.#ended.signal.aborted) return;
    this.#takeAway?.();
    this.#takeAway = undefined;
    this.#ended.abort(reason);
  }

  /** Counts a call. Heartbeats by themselves: nothing else that a worker has to say keeps it from being heard. */
  #called(about: "heartbeat" | "sandbox"): void {
    this.#ended.signal.throwIfAborted();
    const retryAfter = this.#options.calls.take(`${this.workerId} ${about}`);
    if (retryAfter > 0) throw new CaissonError("resource_limit", `The worker ${this.workerId} calls too often.`, { retryAfter });
  }

  /** What a renewal is checked by and against; a worker inside this process has none of it. */
  #renewing(): { readonly identities: NonNullable<LinkSessionOptions["identities"]>; readonly identity: WorkerIdentity } {
    this.#ended.signal.throwIfAborted();
    const { identities } = this.#options;
    const identity = this.#identity;
    if (identities === undefined || identity === undefined) throw new CaissonError("unsupported", "Nothing is renewed here.");
    return { identities, identity };
  }

  /** Ends the session once its credential is good no more. */
  async #checkCredential(): Promise<void> {
    const { clock, identities } = this.#options;
    const identity = this.#identity;
    if (identity === undefined) return;
    const over = identity.expiresAt !== null && identity.expiresAt <= clock.now();
    if (!over && (identities === undefined || (await identities.stillGood(identity)))) return;
    const why = over
      ? "The worker's token has ended; it must refresh it."
      : "The worker's credential was revoked, or the keys of the installation were replaced.";
    const error = new CaissonError("unauthorized", why);
    this.end(error);
    throw error;
  }

  /** The sandbox that is spoken of; `forbidden` unless this worker has its lease under this epoch. */
  async #owned({ sandbox_id: id, epoch }: Report): Promise<SandboxRecord> {
    const { of, refusals, store } = this.#options;
    this.#called("sandbox");
    if (this.#run === undefined) throw new CaissonError("forbidden", "A worker says first that it is there.");
    const lease = await store.leases.get(id);
    const row = await store.sandboxes.get(id);
    if (row !== undefined && lease?.workerId === of.workerId && lease.epoch === epoch) return row;
    // A lower epoch is no lie but late: what it once had it may still speak of.
    const late = row !== undefined && epoch < row.epoch;
    const known = { sandbox_id: id, said_epoch: epoch, epoch: row?.epoch ?? null };
    if (row === undefined) await refusals.report(of.workerId, "unknown_sandbox", known);
    else if (!late && (lease === undefined || lease.workerId !== of.workerId)) await refusals.report(of.workerId, "foreign_sandbox", known);
    else if (!late) await refusals.report(of.workerId, "epoch_too_high", known);
    throw new CaissonError("forbidden", `The worker ${of.workerId} does not have the lease of ${id} under epoch ${epoch}.`);
  }
}
