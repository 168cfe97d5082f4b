import {
  toCaissonError,
  type Clock,
  type ControlLossPolicy,
  type PauseOutcome,
  type SandboxHost,
  type SandboxRef,
} from "@caisson/contract";
import type { ProviderContext } from "@caisson/providers";

/** Rest before freezing or thawing is tried again where it failed, in ms. */
const RETRY_MS = 5_000;

export interface ControlLossOptions {
  readonly policy: ControlLossPolicy;
  readonly host: Required<Pick<SandboxHost, "pauseAll" | "resumeAll">>;
  /** A sandbox was frozen or thawed. Default: nobody is told. */
  readonly changed?: (ref: SandboxRef) => void;
  readonly clock: Clock;
  readonly log: ProviderContext["log"];
}

/** What becomes of the sandboxes while no control plane is there: `pause` freezes them until one is back, `run` leaves them. */
export class ControlLoss {
  readonly #options: ControlLossOptions;
  readonly #closing = new AbortController();
  #wanted: "run" | "pause" | undefined;
  #working: Promise<void> | undefined;

  constructor(options: ControlLossOptions) {
    this.#options = options;
    // What an earlier run froze stays so until a control plane is heard, unless nothing is to be frozen any more.
    if (options.policy === "run") this.#want("run");
  }

  /** A control plane answered. */
  heard(): void {
    this.#want("run");
  }

  /** None was heard for the length of the lease, or the credential is refused for good. */
  lost(why: string): void {
    const { policy, log } = this.#options;
    if (this.#wanted === "pause") return;
    log("warn", policy === "pause" ? "control is lost: freezing the sandboxes" : "control is lost: the sandboxes run on", { reason: why });
    if (policy === "pause") this.#want("pause");
  }

  /** Resolves when what was wanted last is done, or could not be. */
  async settled(): Promise<void> {
    await this.#working;
  }

  /** Freezes and thaws nothing more; what is frozen stays so. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#working;
  }

  #want(wanted: "run" | "pause"): void {
    if (this.#wanted === wanted) return;
    this.#wanted = wanted;
    this.#working ??= this.#work().finally(() => (this.#working = undefined));
  }

  async #work(): Promise<void> {
    const { changed, clock, log } = this.#options;
    const { signal } = this.#closing;
    let done: "run" | "pause" | undefined;
    while (done !== this.#wanted && !signal.aborted) {
      const doing = this.#wanted;
      try {
        const outcome = await this.#do(doing);
        done = doing;
        for (const ref of outcome.done) changed?.(ref);
        if (outcome.done.length > 0)
          log("info", doing === "pause" ? "sandboxes were frozen" : "sandboxes were thawed", { count: outcome.done.length });
        for (const { sandboxId, reason } of outcome.refused)
          log("warn", "a sandbox was not frozen or thawed", { sandbox: sandboxId, reason });
        // What could not be thawed is tried again: a frozen sandbox that nobody thaws is lost. One that cannot freeze runs on.
        if (doing === "run" && outcome.refused.length > 0) done = undefined;
      } catch (error) {
        log("error", "sandboxes could not be frozen or thawed", { error: toCaissonError(error).message });
      }
      if (done !== this.#wanted && doing === this.#wanted) await clock.sleep(RETRY_MS, signal).catch(() => undefined);
    }
  }

  #do(wanted: "run" | "pause" | undefined): Promise<PauseOutcome> {
    const { host } = this.#options;
    return wanted === "pause" ? host.pauseAll() : host.resumeAll();
  }
}
