import { CaissonError, type Clock, type PortAccessReply, type SandboxRef } from "@caisson/contract";
import type { DirectControl } from "./direct-host.ts";

type Access = PortAccessReply["access"];

/** How long an answer is used again, in ms: so long a port may be shown after it was made private. */
const FRESH_MS = 3_000;
/** Answers that are kept. */
const MOST = 4_096;
/** Time for a control plane to answer, in ms. */
const ASK_MS = 5_000;

interface Answer {
  readonly access: Promise<Access>;
  /** Monotonic ms. */
  readonly until: number;
}

/** Which ports are public, as control planes say: asked for once in a few seconds, and refused when none can be asked. */
export class PublicPorts {
  readonly #control: Pick<DirectControl, "portAccess">;
  readonly #clock: Clock;
  readonly #answers = new Map<string, Answer>();

  constructor(control: Pick<DirectControl, "portAccess">, clock: Clock) {
    this.#control = control;
    this.#clock = clock;
  }

  /** What someone without a token may know of a port; `control_unavailable` when nobody could be asked. */
  access({ sandboxId, epoch }: SandboxRef, port: number): Promise<Access> {
    const key = `${sandboxId} ${epoch} ${port}`;
    const known = this.#answers.get(key);
    if (known !== undefined && known.until > this.#clock.monotonic()) return known.access;
    this.#answers.delete(key);
    if (this.#answers.size >= MOST) {
      const oldest = this.#answers.keys().next();
      if (oldest.done !== true) this.#answers.delete(oldest.value);
    }
    const access = this.#ask({ sandbox_id: sandboxId, epoch, port });
    const answer = { access, until: this.#clock.monotonic() + FRESH_MS };
    this.#answers.set(key, answer);
    // A failure is not kept: the next request asks again.
    access.catch(() => {
      if (this.#answers.get(key) === answer) this.#answers.delete(key);
    });
    return access;
  }

  async #ask(asked: Parameters<DirectControl["portAccess"]>[0]): Promise<Access> {
    const limit = new AbortController();
    const timer = this.#clock.schedule(ASK_MS, () => limit.abort());
    try {
      return (await this.#control.portAccess(asked, { signal: limit.signal })).access;
    } catch (cause) {
      throw new CaissonError("control_unavailable", "No control plane could be asked whether this port is public.", {
        cause,
        retryAfter: 2,
      });
    } finally {
      timer.cancel();
    }
  }
}
