import type { Heartbeat, HeartbeatReply, PortAccess, PortAccessReply, ProcessesChanged, Report, SandboxHost } from "@caisson/contract";
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
  /** Renews all leases of the worker. `unauthorized` when it was revoked: the worker then refreshes or gives up. */
  heartbeat(heartbeat: Heartbeat): Promise<HeartbeatReply>;
  report(report: Report): Promise<void>;
  processesChanged(changed: ProcessesChanged): Promise<void>;
  portAccess(asked: PortAccess): Promise<PortAccessReply>;
  /** The link has ended. Idempotent. */
  close(): void;
}
