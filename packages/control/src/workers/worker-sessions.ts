import type {
  ChallengeReply,
  Heartbeat,
  HeartbeatReply,
  PortAccess,
  PortAccessReply,
  ProcessesChanged,
  Renewal,
  Report,
  SandboxHost,
  Scope,
} from "@caisson/contract";
import type { WorkerIdentity } from "./worker-identities.ts";

/** Where links with workers arrive, whoever dialled. */
export interface WorkerSessions {
  /**
   * A link with a worker is up: `host` is what the control plane may ask of it. Ends an older session of the same worker on
   * this control plane. `close` of the session must be called when the link has ended.
   */
  open(identity: WorkerIdentity, host: SandboxHost): WorkerSession;
}

/** What one worker may say over one link: about itself, and about sandboxes whose lease and epoch it holds, else `forbidden`. */
export interface WorkerSession {
  /** Aborted when the link must end: the worker was removed or revoked, its credential ended, or a newer link came. The reason says which. */
  readonly ended: AbortSignal;
  /** What its credential is good for: those of the newest token that it showed. */
  readonly scopes: ReadonlySet<Scope>;
  /** Renews all leases of the worker. `unauthorized` when it was revoked: the worker then refreshes or gives up. */
  heartbeat(heartbeat: Heartbeat): Promise<HeartbeatReply>;
  /** A nonce for the proof of `renew`. */
  challenge(): Promise<ChallengeReply>;
  /**
   * From now on the link ends with this token instead of the one that it had. `unauthorized` for what would not have opened it,
   * or is not of the same worker, key and tenant: the link then keeps its end. `resource_limit` from a worker that floods.
   */
  renew(renewal: Renewal): Promise<void>;
  report(report: Report): Promise<void>;
  processesChanged(changed: ProcessesChanged): Promise<void>;
  portAccess(asked: PortAccess): Promise<PortAccessReply>;
  /** The link has ended. Idempotent. */
  close(): void;
}
