import { CaissonError, type SandboxHost } from "@caisson/contract";
import { Allowance } from "../allowance.ts";
import { CALLS, LinkSession, type LinkSessionOptions } from "./link-session.ts";
import type { HeartbeatOf } from "./worker-heartbeats.ts";
import type { WorkerIdentity } from "./worker-identities.ts";
import type { WorkerSession, WorkerSessions } from "./worker-sessions.ts";

/** What sessions need. */
export type LinkSessionsOptions = Omit<LinkSessionOptions, "of" | "host" | "begun" | "calls">;

/** The sessions of this control plane: of each worker the newest counts, once it has been heard; one in this process counts at once. */
export class LinkSessions implements WorkerSessions {
  readonly #options: LinkSessionsOptions;
  readonly #newest = new Map<string, LinkSession>();
  readonly #all = new Set<LinkSession>();
  readonly #calls: Allowance;

  constructor(options: LinkSessionsOptions) {
    this.#options = options;
    this.#calls = new Allowance({ ...CALLS, clock: options.clock });
  }

  open(identity: WorkerIdentity, host: SandboxHost): WorkerSession {
    return this.openAs(identity, host, identity);
  }

  /** A session of a worker, with or without a credential. */
  openAs(of: HeartbeatOf, host: SandboxHost, identity?: WorkerIdentity): WorkerSession {
    const session = new LinkSession({
      ...this.#options,
      of,
      host,
      calls: this.#calls,
      ...(identity === undefined ? {} : { identity }),
      begun: () => {
        const older = this.#newest.get(of.workerId);
        this.#newest.set(of.workerId, session);
        if (older !== session) older?.end(new CaissonError("conflict", "A newer link of this worker came."));
      },
    });
    this.#all.add(session);
    // Its providers may be tried for seconds before it has something to say; its sandboxes need not wait for that.
    if (identity === undefined) session.begin();
    session.ended.addEventListener(
      "abort",
      () => {
        this.#all.delete(session);
        if (this.#newest.get(of.workerId) === session) this.#newest.delete(of.workerId);
      },
      { once: true },
    );
    return session;
  }

  /** Ends the links of one worker here, or of all. */
  end(reason: CaissonError, workerId?: string): void {
    for (const session of this.#all) if (workerId === undefined || session.workerId === workerId) session.end(reason);
  }

  /** Ends the links here of workers whose credentials are good no more, also of those that send no heartbeat to be told so. */
  async review(): Promise<void> {
    for (const session of this.#all) await session.review();
  }

  /** Ids of workers that have a session here. */
  workerIds(): readonly string[] {
    return [...this.#newest.keys()];
  }
}
