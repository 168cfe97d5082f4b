import type { Heartbeat, SandboxHost } from "@caisson/contract";
import { CaissonError } from "@caisson/contract";
import type { WorkerIdentity, WorkerSession, WorkerSessions } from "@caisson/control";

/** One session as a test sees it. */
export interface MemorySession {
  readonly identity: WorkerIdentity;
  readonly host: SandboxHost;
  readonly heartbeats: Heartbeat[];
  /** Ends it as the control plane does. */
  readonly end: (reason: CaissonError) => void;
  closed: boolean;
}

/** Sessions of workers that keep what they hear in memory; the newest of a worker ends the one before. */
export class MemorySessions implements WorkerSessions {
  readonly all: MemorySession[] = [];
  /** Whether a new one counts at once; in real life it does when it was first heard. */
  countsAtOnce = true;
  readonly #waiting: (() => void)[] = [];

  open(identity: WorkerIdentity, host: SandboxHost): WorkerSession {
    const controller = new AbortController();
    const end = (reason: CaissonError): void => controller.abort(reason);
    const session: MemorySession = { identity, host, heartbeats: [], end, closed: false };
    for (const older of this.all)
      if (this.countsAtOnce && !older.closed && older.identity.workerId === identity.workerId)
        older.end(new CaissonError("conflict", "A newer link came."));
    this.all.push(session);
    for (const wake of this.#waiting.splice(0)) wake();
    const nothing = (): Promise<never> => Promise.reject(new CaissonError("forbidden", "It holds no lease."));
    return {
      ended: controller.signal,
      scopes: identity.scopes,
      heartbeat: (heartbeat) => {
        session.heartbeats.push(heartbeat);
        return Promise.resolve({ lease_ms: 90_000, send_providers: false, drain: false, control_planes: [], keys: { keys: [] } });
      },
      challenge: nothing,
      renew: nothing,
      report: nothing,
      processesChanged: nothing,
      portAccess: nothing,
      close: () => (session.closed = true),
    };
  }

  /** The session number `count`, counted from 1, once it is there. */
  async nth(count: number): Promise<MemorySession> {
    while (this.all.length < count) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return this.all[count - 1] as MemorySession;
  }
}
