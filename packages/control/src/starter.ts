import { CaissonError, TRANSITIONAL_DEADLINES, isErrorCode, toCaissonError, type Clock } from "@caisson/contract";
import type { PlacementRecord, SandboxRecord, Store } from "@caisson/store";
import type { Cleaner } from "./cleaner.ts";
import type { Hosts } from "./hosts.ts";
import type { Logger } from "./logger.ts";
import type { Placer } from "./placement/placer.ts";
import type { Refused } from "./placement/refusal.ts";
import { SingleFlight } from "./single-flight.ts";
import { attemptStart, type StartAttempt } from "./start-attempt.ts";
import type { Facts, StateWriter } from "./state-writer.ts";
import type { WorkerDirectory } from "./workers/worker-directory.ts";

/** Whether it is decided what becomes of a creation; its row where that was written here. */
type Decision = boolean | SandboxRecord;

/** How long a creation is its driver's without another word, in ms. */
export const DRIVE_MS = 4_000;
/** Time between two words of a driver, in ms. */
const RENEW_MS = 1_300;
/** First and longest rest before a start is tried again, in ms. */
const RETRY_MS = { first: 250, longest: 5_000 } as const;
/** Rest between two looks of who waits for a creation that another control plane drives, in ms. */
const LOOK_MS = 250;
/** What no other worker would do either. */
const FAULTS_OF_THE_REQUEST: readonly string[] = ["invalid_request", "invalid_argument", "no_such_user", "deadline_exceeded"];

/** A worker that is being left, and has not confirmed that it destroyed what it may have. */
interface Leaving {
  /** Why it is left. */
  readonly error: CaissonError;
  /** What it was told to destroy by. */
  readonly epoch: number;
}

/** What came of a look for another worker, and the row as it is now. */
type Elsewhere =
  | { readonly kind: "moved"; readonly sandbox: SandboxRecord }
  /** No other fits. */
  | { readonly kind: "nowhere"; readonly sandbox: SandboxRecord }
  /** The worker that it leaves did not confirm. */
  | { readonly kind: "unsure"; readonly sandbox: SandboxRecord; readonly leaving: Leaving }
  /** Somebody else wrote first. */
  | { readonly kind: "decided" };

/** What a starter needs. */
export interface StarterOptions {
  readonly clock: Clock;
  readonly store: Store;
  readonly hosts: Hosts;
  readonly states: StateWriter;
  readonly cleaner: Cleaner;
  readonly placer: Placer;
  readonly directory: WorkerDirectory;
  /** Id of this control plane. */
  readonly self: string;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/**
 * Drives sandboxes in state `creating` to running or to an end. One control plane drives a creation at a time: it says every
 * second or so that it goes on, and when it falls silent another one takes over. Starting is idempotent by id and epoch.
 *
 * A creation goes to another worker only when the first one has, for certain, nothing of it and will never have: it confirmed
 * `destroy` under the next epoch, or it was never asked by anybody. Before that `destroy` is sent the row has an epoch above
 * it, so that it harms nothing that is started later, however late it comes and whoever drives by then.
 */
export class Starter {
  readonly #options: StarterOptions;
  readonly #running = new SingleFlight<Decision>();
  readonly #cancels = new Map<string, AbortController>();

  constructor(options: StarterOptions) {
    this.#options = options;
    const { signal } = options;
    // One listener for all: `AbortSignal.any` for each creation costs more than all else that is done to watch it.
    const end = (): void => this.#cancels.forEach((controller) => controller.abort(signal.reason));
    signal.addEventListener("abort", end, { once: true });
  }

  /**
   * Drives a creation that this control plane has just reserved. Resolves when it is decided, with the row as it was written
   * then if that was done here; never rejects.
   */
  async begin(sandbox: SandboxRecord): Promise<SandboxRecord | undefined> {
    const { id } = sandbox;
    const decision = await this.#running.run(id, () => this.#guarded(id, (signal) => this.#drive(sandbox, "fresh", signal)));
    if (typeof decision === "object") return decision;
    if (!decision) await this.drive(sandbox);
    return undefined;
  }

  /** Drives a creation unless somebody else does, or there is no way to its worker from here. Never rejects. */
  async takeOver({ id, workerId }: Pick<SandboxRecord, "id" | "workerId">): Promise<void> {
    const { hosts, store, self } = this.#options;
    if (hosts.get(workerId) === undefined) return;
    await this.#running.run(id, () =>
      this.#guarded(id, async (signal) => {
        const taken = await store.creations.drive(id, self, DRIVE_MS);
        return taken === undefined ? false : this.#drive(taken, "taken over", signal);
      }),
    );
  }

  /** Waits until a creation is decided, whoever drives it; drives it when nobody does. Never rejects. */
  async drive({ id }: Pick<SandboxRecord, "id">): Promise<void> {
    const { clock, store, signal } = this.#options;
    while (!signal.aborted) {
      try {
        const seen = await store.sandboxes.get(id);
        if (seen?.state !== "creating") return;
        await this.takeOver(seen);
        if ((await store.sandboxes.get(id))?.state !== "creating") return;
        await clock.sleep(LOOK_MS, signal);
      } catch {
        // The database does not answer, or we shut down: the caller's own deadline and look at the row decide.
        return;
      }
    }
  }

  /** Ends the wait for a start that nobody wants any more. */
  cancel(id: string): void {
    this.#cancels.get(id)?.abort(new CaissonError("cancelled", "The sandbox was ended while it started."));
  }

  /** Resolves when what runs now is done. */
  idle(): Promise<void> {
    return this.#running.idle();
  }

  /** Runs `work` beside the word that it goes on. */
  async #guarded(id: string, work: (signal: AbortSignal) => Promise<Decision>): Promise<Decision> {
    const { signal } = this.#options;
    const controller = new AbortController();
    if (signal.aborted) controller.abort(signal.reason);
    this.#cancels.set(id, controller);
    const stop = this.#goOn(id);
    try {
      return await work(controller.signal);
    } catch (error) {
      // The row is still there: whoever finds it drives it again, or its deadline ends it.
      if (!signal.aborted) {
        this.#options.logger.error({ sandbox_id: id, outcome: toCaissonError(error).code, err: error }, "a creation got stuck");
      }
      return signal.aborted;
    } finally {
      stop();
      this.#cancels.delete(id);
    }
  }

  /**
   * Says again and again that this control plane goes on, until the function that it returns is called; calls the start off
   * when the sandbox was ended elsewhere.
   */
  #goOn(id: string): () => void {
    const { clock, store, self } = this.#options;
    let stopped = false;
    const say = async (): Promise<void> => {
      try {
        if ((await store.creations.driveOn(id, self, DRIVE_MS)) === undefined) {
          const now = await store.sandboxes.get(id);
          if (!stopped && (now === undefined || now.endedAt !== null)) this.cancel(id);
        }
      } catch {
        // The database does not answer: the next word may come through, else another control plane takes over.
      }
      if (!stopped) timer = clock.schedule(RENEW_MS, again);
    };
    const again = (): void => void say();
    let timer = clock.schedule(RENEW_MS, again);
    return () => {
      stopped = true;
      timer.cancel();
    };
  }

  /** Whether it is decided; else somebody else may have a way to its worker. */
  async #drive(first: SandboxRecord, how: "fresh" | "taken over", signal: AbortSignal): Promise<Decision> {
    const { clock, hosts, self, store } = this.#options;
    const until = clock.monotonic() + TRANSITIONAL_DEADLINES.creating;
    const refused: Refused[] = refusedBefore(first.placement);
    let sandbox = first;
    let untouched = how === "fresh";
    let rest: number = RETRY_MS.first;
    /** While there is one nothing is started there: what it had may still be there, beside what would come. */
    let leaving: Leaving | undefined;
    for (;;) {
      // Bounded in monotonic time too: a clock set back while nobody watched must not prolong the wait.
      const left = Math.min((sandbox.deadlineAt ?? 0) - clock.now(), until - clock.monotonic());
      if (left <= 0) return this.#settle(sandbox, "deadline_passed");
      const host = hosts.get(sandbox.workerId);
      const attempt: StartAttempt =
        leaving === undefined || host === undefined
          ? await attemptStart(host, sandbox, { clock, ms: left, signal })
          : { kind: "refused", error: leaving.error };
      if (signal.aborted) return true;
      if (attempt.kind === "started") return this.#settle(sandbox, "started", { box: attempt.box });
      if (attempt.kind !== "unsent") untouched = false;
      if (attempt.kind === "refused" || (attempt.kind === "unsent" && untouched)) {
        const error = attempt.kind === "refused" ? attempt.error : new CaissonError("worker_unavailable", "There was no link to it.");
        const failed = { workerId: sandbox.workerId, error };
        const next = await this.#elsewhere(sandbox, failed, refused, untouched ? "untouched" : leaving);
        if (signal.aborted || next.kind === "decided") return true;
        sandbox = next.sandbox;
        leaving = next.kind === "unsure" ? next.leaving : undefined;
        if (next.kind === "nowhere" && attempt.kind === "refused" && error.code !== "shutting_down") {
          // What the first one said is what the caller hears, whoever drove it then.
          const reason = refused[0]?.error ?? error;
          return this.#settle(sandbox, "start_failed", { reason: { code: reason.code, message: reason.message } });
        }
        if (next.kind === "moved") {
          rest = RETRY_MS.first;
          continue;
        }
      }
      if (attempt.kind === "unsent") {
        // Given up at once, not when the time is over: others may have a way to it.
        await store.creations.driveOn(sandbox.id, self, 0);
        return false;
      }
      await clock.sleep(Math.min(rest, left), signal);
      rest = Math.min(rest * 2, RETRY_MS.longest);
      const now = await store.sandboxes.get(sandbox.id);
      if (now?.state !== "creating" || now.epoch !== sandbox.epoch) return true;
      sandbox = now;
    }
  }

  /**
   * Moves a creation to the next worker that fits, once the one it leaves has nothing of it. `from` tells how that one stands: it
   * was never asked, it was told to destroy before, or (undefined) it has to be told.
   */
  async #elsewhere(
    sandbox: SandboxRecord,
    failed: Refused,
    refused: Refused[],
    from: "untouched" | Leaving | undefined,
  ): Promise<Elsewhere> {
    const { directory, logger, placer, self, store } = this.#options;
    const known = refused.findIndex(({ workerId }) => workerId === failed.workerId);
    // Asked again because it did not confirm its `destroy`: what it said first is what is told.
    if (known < 0) refused.push(failed);
    if (FAULTS_OF_THE_REQUEST.includes(failed.error.code)) return { kind: "nowhere", sandbox };
    const passed: Refused[] = [];
    let empty = from === "untouched";
    for (;;) {
      let placed;
      try {
        placed = await placer.again(sandbox, [...refused, ...passed]);
      } catch (error) {
        if (toCaissonError(error).code === "internal") throw error;
        return { kind: "nowhere", sandbox };
      }
      if ((await store.creations.driveOn(sandbox.id, self, DRIVE_MS)) === undefined) {
        placer.giveUp(placed);
        return { kind: "decided" };
      }
      if (!empty) {
        const left = await this.#leave(sandbox, failed.error, from === "untouched" ? undefined : from);
        if (left.kind !== "left") {
          placer.giveUp(placed);
          return left;
        }
        sandbox = left.sandbox;
        empty = true;
      }
      const moved = await store.creations.move(sandbox, { ...placed, placement: placed.record, driver: self });
      if (moved.kind === "moved") {
        logger.info(
          { sandbox_id: sandbox.id, from: sandbox.workerId, worker_id: placed.workerId, outcome: failed.error.code },
          "a creation goes on elsewhere",
        );
        return moved;
      }
      if (moved.kind === "worker_full") {
        directory.forget();
        passed.push({ workerId: placed.workerId, error: new CaissonError("no_capacity", "Others filled it at the same moment.") });
        continue;
      }
      placer.giveUp(placed);
      const now = await store.creations.driveOn(sandbox.id, self, DRIVE_MS);
      if (now === undefined || now.epoch !== sandbox.epoch) return { kind: "decided" };
      sandbox = now; // it was extended meanwhile
    }
  }

  /** Has the worker destroy what it may have of a creation, by an epoch below the row's from now on. */
  async #leave(
    sandbox: SandboxRecord,
    error: CaissonError,
    before: Leaving | undefined,
  ): Promise<{ readonly kind: "left"; readonly sandbox: SandboxRecord } | Extract<Elsewhere, { kind: "unsure" | "decided" }>> {
    const { cleaner, self, store } = this.#options;
    const raised = before === undefined ? await store.creations.raise(sandbox, self, DRIVE_MS) : sandbox;
    if (raised === undefined) return { kind: "decided" };
    const epoch = before?.epoch ?? sandbox.epoch + 1;
    if (await cleaner.destroyBox(sandbox.workerId, sandbox.id, epoch)) return { kind: "left", sandbox: raised };
    return { kind: "unsure", sandbox: raised, leaving: { error: before?.error ?? error, epoch } };
  }

  /** Writes what came of it, if it is still the creation that was driven. */
  async #settle(sandbox: SandboxRecord, event: "started" | "start_failed" | "deadline_passed", facts: Facts = {}): Promise<Decision> {
    const { cleaner, self, states, store } = this.#options;
    if (event === "started") {
      // Mostly nobody has touched it, and its row need not be read: the write is fenced by the version that was seen.
      const advance = await states.observe(sandbox, event, facts);
      if (advance.kind === "moved") return advance.sandbox;
    }
    for (;;) {
      // Only its driver gives a creation up; that a box runs is true whoever finds it.
      const driven = event === "started" ? undefined : await store.creations.driveOn(sandbox.id, self, DRIVE_MS);
      const now = event === "started" ? await store.sandboxes.get(sandbox.id) : driven;
      if (now === undefined) return true;
      if (now.epoch !== sandbox.epoch || now.workerId !== sandbox.workerId) {
        // Ended or moved meanwhile: the start came late, and its box must go whether or not a lease is left.
        if (event !== "started") return true;
        if (now.endedAt !== null && now.workerId === sandbox.workerId) void cleaner.clean(now);
        else void cleaner.destroyOrphan(sandbox.workerId, sandbox.id, sandbox.epoch);
        return true;
      }
      if ((await states.observe(now, event, facts)).kind !== "lost") return true;
    }
  }
}

/** Workers that have failed this creation already, as its row tells. One that only was full may be tried. */
function refusedBefore(placement: PlacementRecord | null): Refused[] {
  const told = placement?.placement.refused ?? [];
  return told
    .filter(({ code }) => code !== "no_capacity" && code !== "worker_unavailable")
    .map(({ worker_id, code, reason }) => ({
      workerId: worker_id,
      error: new CaissonError(isErrorCode(code) ? code : "provider_failed", reason),
    }));
}
