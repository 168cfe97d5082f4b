import {
  CaissonError,
  TRANSITIONAL_DEADLINES,
  isCaissonError,
  toCaissonError,
  type Clock,
  type HostSandbox,
  type SandboxHost,
} from "@caisson/contract";
import type { Reason, SandboxRecord, Store } from "@caisson/store";
import type { Cleaner } from "./cleaner.ts";
import type { Logger } from "./logger.ts";
import { SingleFlight } from "./single-flight.ts";
import type { StateWriter } from "./state-writer.ts";
import { withDeadline } from "./with-deadline.ts";

/** First and longest rest before a start is tried again, in ms. */
const RETRY_MS = { first: 250, longest: 5_000 } as const;

/** What came of one start. */
type Attempt =
  | { readonly kind: "started"; readonly box: HostSandbox }
  | { readonly kind: "start_failed"; readonly reason: Reason }
  | { readonly kind: "unreachable" };

/** What a starter needs. */
export interface StarterOptions {
  readonly clock: Clock;
  readonly store: Store;
  readonly hosts: ReadonlyMap<string, SandboxHost>;
  readonly states: StateWriter;
  readonly cleaner: Cleaner;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/**
 * Drives sandboxes in state `creating` to running or to an end. No lock is held while a box boots; starting is idempotent
 * by id and epoch, so whoever finds a creation that nobody drives may drive it.
 */
export class Starter {
  readonly #options: StarterOptions;
  readonly #running = new SingleFlight<void>();
  readonly #cancels = new Map<string, AbortController>();

  constructor(options: StarterOptions) {
    this.#options = options;
  }

  /** Drives a creation, or joins who does. Resolves when it is decided or its deadline has passed; never rejects. */
  drive(sandbox: SandboxRecord): Promise<void> {
    return this.#running.run(sandbox.id, async () => {
      const controller = new AbortController();
      this.#cancels.set(sandbox.id, controller);
      try {
        await this.#drive(sandbox, AbortSignal.any([controller.signal, this.#options.signal]));
      } catch (error) {
        // The row is still there: reconciliation drives it again, or its deadline ends it.
        if (this.#options.signal.aborted) return;
        this.#options.logger.error({ sandbox_id: sandbox.id, outcome: toCaissonError(error).code, err: error }, "a creation got stuck");
      } finally {
        this.#cancels.delete(sandbox.id);
      }
    });
  }

  /** Ends the wait for a start that nobody wants any more. */
  cancel(id: string): void {
    this.#cancels.get(id)?.abort(new CaissonError("cancelled", "The sandbox was ended while it started."));
  }

  /** Resolves when what runs now is done. */
  idle(): Promise<void> {
    return this.#running.idle();
  }

  async #drive(sandbox: SandboxRecord, signal: AbortSignal): Promise<void> {
    const { clock, store, states, cleaner } = this.#options;
    const until = clock.monotonic() + TRANSITIONAL_DEADLINES.creating;
    let rest: number = RETRY_MS.first;
    for (;;) {
      // Bounded in monotonic time too: a clock set back while nobody watched must not prolong the wait.
      const left = Math.min((sandbox.deadlineAt ?? 0) - clock.now(), until - clock.monotonic());
      if (left <= 0) {
        await states.advance(sandbox.id, "deadline_passed");
        return;
      }
      const outcome = await this.#attempt(sandbox, left, signal);
      if (signal.aborted) return;
      if (outcome.kind !== "unreachable") {
        const { kind, ...facts } = outcome;
        const { sandbox: now } = await states.advance(sandbox.id, kind, facts);
        // Ended meanwhile: the start came late, and its box must go whether or not a lease is left.
        if (kind === "started" && now.endedAt !== null) void cleaner.clean(now);
        return;
      }
      await clock.sleep(Math.min(rest, left), signal);
      rest = Math.min(rest * 2, RETRY_MS.longest);
      if ((await store.sandboxes.get(sandbox.id))?.state !== "creating") return;
    }
  }

  /** One start, as the event that it means; only a worker that is out of reach or leaving is worth another try. */
  async #attempt(sandbox: SandboxRecord, ms: number, signal: AbortSignal): Promise<Attempt> {
    try {
      const deadline = { clock: this.#options.clock, ms, what: "the start of the sandbox", signal };
      return { kind: "started", box: await withDeadline(deadline, (inner) => this.#start(sandbox, inner)) };
    } catch (error) {
      if (isCaissonError(error, "worker_unavailable", "shutting_down", "cancelled")) return { kind: "unreachable" };
      const { code, message } = toCaissonError(error);
      return { kind: "start_failed", reason: { code, message } };
    }
  }

  async #start(sandbox: SandboxRecord, signal: AbortSignal): Promise<HostSandbox> {
    const host = this.#options.hosts.get(sandbox.workerId);
    if (host === undefined) throw new CaissonError("worker_unavailable", `The worker ${sandbox.workerId} is not connected.`);
    const box = await host.start({ ...sandbox.spec, sandboxId: sandbox.id, epoch: sandbox.epoch, env: sandbox.env }, signal);
    if (box.state === "stopped") throw new CaissonError("provider_failed", box.reason ?? "The box ended as soon as it had started.");
    return box;
  }
}
