import { isCaissonError, toCaissonError, type SandboxRef } from "@caisson/contract";
import type { ProviderContext } from "@caisson/providers";
import type { ControlClient } from "@caisson/worker-link";

/** Reports under way at once. */
const AT_ONCE = 4;
/** Most that wait; of what is beyond, the control plane learns at its next look at the whole worker. */
const MAX_WAITING = 4_096;
/** Longest time for an answer, in ms. */
const ANSWER_MS = 10_000;

/** Control planes that can be told now, any of which will do. */
export interface ToldPlanes {
  readonly up: readonly { readonly control: Pick<ControlClient, "report"> }[];
}

/**
 * Tells a control plane of sandboxes that changed by themselves, so that it asks about them at once. Nothing hangs on it: who
 * cannot be told finds out by itself, and a control plane that comes back looks at everything anyway.
 */
export class ChangeReports {
  readonly #log: ProviderContext["log"];
  readonly #waiting = new Map<string, SandboxRef>();
  /** Of one sandbox one report at a time: an answer may be older than the next change. */
  readonly #sending = new Set<string>();

  /** Who is told; nobody before they are there. */
  planes: ToldPlanes = { up: [] };

  constructor(log: ProviderContext["log"]) {
    this.#log = log;
  }

  /** Something happened to a sandbox. */
  tell(ref: SandboxRef): void {
    if (this.#waiting.size >= MAX_WAITING && !this.#waiting.has(ref.sandboxId)) return;
    this.#waiting.set(ref.sandboxId, ref);
    this.#next();
  }

  #next(): void {
    for (const [id, ref] of this.#waiting) {
      if (this.#sending.size >= AT_ONCE) return;
      if (this.#sending.has(id)) continue;
      this.#waiting.delete(id);
      this.#sending.add(id);
      void this.#send(ref).finally(() => {
        this.#sending.delete(id);
        this.#next();
      });
    }
  }

  /** Never rejects. */
  async #send({ sandboxId, epoch }: SandboxRef): Promise<void> {
    for (const { control } of this.planes.up) {
      try {
        return await control.report({ sandbox_id: sandboxId, epoch }, { deadlineMs: ANSWER_MS });
      } catch (error) {
        const { message } = toCaissonError(error);
        this.#log("debug", "a change was not told", { sandbox: sandboxId, reason: message });
        // It is no business of ours any more: another control plane would say the same.
        if (isCaissonError(error, "forbidden")) return;
      }
    }
  }
}
