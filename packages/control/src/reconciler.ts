import { isTerminal, toCaissonError, type Clock, type HostSandbox, type SandboxHost, type WorkerState } from "@caisson/contract";
import type { LeasedSandbox, SandboxRecord, Store } from "@caisson/store";
import type { Cleaner } from "./cleaner.ts";
import type { Logger } from "./logger.ts";
import { Loop } from "./loop.ts";
import { SingleFlight } from "./single-flight.ts";
import type { Starter } from "./starter.ts";
import type { StateWriter } from "./state-writer.ts";
import { withDeadline } from "./with-deadline.ts";

/** Time a worker has to tell its inventory, in ms. */
const INVENTORY_DEADLINE_MS = 15_000;
/** Time a worker has to tell of one sandbox, in ms. */
const INSPECT_DEADLINE_MS = 5_000;
/** A worker that has not answered for this long is unreachable, in ms. */
export const UNREACHABLE_AFTER_MS = 90_000;

/** What a reconciler needs. */
export interface ReconcilerOptions {
  readonly clock: Clock;
  readonly store: Store;
  readonly host: SandboxHost;
  readonly states: StateWriter;
  readonly starter: Starter;
  readonly cleaner: Cleaner;
  readonly logger: Logger;
  /** Rest between two rounds, in ms. */
  readonly everyMs: number;
  readonly signal: AbortSignal;
}

/**
 * Brings the rows of one worker and its boxes together, at start and again and again.
 *
 * The rows are read before and after the inventory. A box that is missing counts as gone only for a row that said "running"
 * before the inventory was asked for and is unchanged since; a box that nobody owns is an orphan only by rows read after it,
 * because a creation writes its row before it starts its box.
 */
export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #loop: Loop;
  readonly #rechecks = new SingleFlight<void>();
  readonly #firstRound = Promise.withResolvers<void>();
  #failingSince: number | undefined;
  #known: WorkerState | undefined;
  #seenAt = 0;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    const { clock, logger, host } = options;
    this.#loop = new Loop({ name: `reconcile ${host.workerId}`, clock, logger, round: () => this.#round() });
  }

  /** Whether the worker answered last time. */
  get reachable(): boolean {
    return this.#failingSince === undefined && this.#known === "online";
  }

  /** Resolves when the first round is over, whatever it brought. */
  get firstRound(): Promise<void> {
    return this.#firstRound.promise;
  }

  /** Runs until the signal is aborted. */
  run(): Promise<void> {
    return this.#loop.run(this.#options.signal);
  }

  /** Starts a round soon. */
  nudge(): void {
    this.#loop.nudge();
  }

  /** Asks the worker about one sandbox that gave trouble, and writes what it says. Never rejects. */
  recheck(sandbox: SandboxRecord): Promise<void> {
    return this.#rechecks.run(sandbox.id, async () => {
      try {
        const box = await this.#inspect(sandbox.id);
        if (box === undefined || box.state === "stopped") await this.#gone(sandbox, box);
        else if (box.epoch === sandbox.epoch) await this.#found(sandbox, box);
      } catch (error) {
        this.#options.logger.debug({ sandbox_id: sandbox.id, outcome: toCaissonError(error).code }, "a recheck failed");
        this.nudge();
      }
    });
  }

  async #round(): Promise<number> {
    const { clock, host, store, everyMs, signal } = this.#options;
    try {
      const before = await store.sandboxes.leased(host.workerId);
      let inventory: readonly HostSandbox[];
      try {
        const deadline = { clock, ms: INVENTORY_DEADLINE_MS, what: `the inventory of ${host.workerId}`, signal };
        inventory = await withDeadline(deadline, (inner) => host.inventory(inner));
      } catch (error) {
        await this.#unreachable(before, error);
        return everyMs;
      }
      const after = new Map((await store.sandboxes.leased(host.workerId)).map((entry) => [entry.sandbox.id, entry]));
      await this.#reached();
      const boxes = new Map(inventory.map((box) => [box.sandboxId, box]));
      for (const box of boxes.values()) await this.#box(box, after.get(box.sandboxId));
      for (const { sandbox } of before) {
        if (!boxes.has(sandbox.id) && after.get(sandbox.id)?.sandbox.version === sandbox.version) await this.#absent(sandbox);
      }
      for (const { sandbox } of after.values()) this.#unfinished(sandbox);
      return everyMs;
    } finally {
      this.#firstRound.resolve();
    }
  }

  /** A box, and the row with a lease on this worker if there is one. */
  async #box(box: HostSandbox, entry: LeasedSandbox | undefined): Promise<void> {
    const { cleaner, host, logger, store } = this.#options;
    if (entry === undefined) {
      // Ended and confirmed before, or never ours: its row would be there if it were being created.
      const row = await store.sandboxes.get(box.sandboxId);
      logger.warn({ worker_id: host.workerId, sandbox_id: box.sandboxId, epoch: box.epoch }, "a box that nobody owns is destroyed");
      void cleaner.destroyOrphan(host.workerId, box.sandboxId, Math.max(box.epoch, row?.epoch ?? 0));
      return;
    }
    const { sandbox } = entry;
    if (isTerminal(sandbox.state) || sandbox.state === "creating") return; // see #unfinished
    if (box.epoch < sandbox.epoch) return void cleaner.destroyOrphan(host.workerId, box.sandboxId, box.epoch);
    if (box.epoch > sandbox.epoch) {
      logger.error({ sandbox_id: sandbox.id, epoch: sandbox.epoch, box_epoch: box.epoch }, "a box has a newer epoch than its row");
      return;
    }
    await this.#found(sandbox, box);
  }

  /** The worker has it: the row follows. */
  async #found(sandbox: SandboxRecord, box: HostSandbox): Promise<void> {
    const { states } = this.#options;
    switch (box.state) {
      case "running":
        await states.observe(sandbox, "found_running", { box });
        return;
      case "paused":
        await states.observe(sandbox, "found_paused", { box });
        return;
      case "unhealthy": {
        const back = sandbox.state === "missing" ? await states.observe(sandbox, "found_running", { box }) : undefined;
        const now = back?.kind === "moved" ? back.sandbox : sandbox;
        await states.observe(
          now,
          "agent_lost",
          box.reason === undefined ? {} : { reason: { code: "agent_unreachable", message: box.reason } },
        );
        return;
      }
      case "stopped":
        await this.#gone(sandbox, box);
        return;
      default:
        box.state satisfies never;
    }
  }

  /** A row without a box. Asked for by name once more, because ending it cannot be taken back. */
  async #absent(sandbox: SandboxRecord): Promise<void> {
    if (isTerminal(sandbox.state) || sandbox.state === "creating") return;
    const box = await this.#inspect(sandbox.id);
    if (box === undefined || box.state === "stopped") await this.#gone(sandbox, box);
  }

  async #gone(sandbox: SandboxRecord, box: HostSandbox | undefined): Promise<void> {
    const message = box?.reason ?? (box === undefined ? "Its worker no longer has it." : "Its box has ended.");
    await this.#options.states.observe(sandbox, "found_gone", { reason: { code: "box_gone", message } });
  }

  /** What a crash or a failed call left: creations are driven on, ended ones are cleaned up. */
  #unfinished(sandbox: SandboxRecord): void {
    if (sandbox.state === "creating") void this.#options.starter.drive(sandbox);
    else if (isTerminal(sandbox.state)) void this.#options.cleaner.clean(sandbox);
  }

  #inspect(id: string): Promise<HostSandbox | undefined> {
    const { clock, host, signal } = this.#options;
    const deadline = { clock, ms: INSPECT_DEADLINE_MS, what: `word of ${id}`, signal };
    return withDeadline(deadline, (inner) => host.inspect(id, inner));
  }

  async #reached(): Promise<void> {
    this.#failingSince = undefined;
    this.#seenAt = this.#options.clock.now();
    if (this.#known === "online") return;
    await this.#remember("online");
    this.#options.logger.info({ worker_id: this.#options.host.workerId }, "the worker answers");
  }

  async #unreachable(rows: readonly LeasedSandbox[], error: unknown): Promise<void> {
    const { clock, host, logger, signal, states } = this.#options;
    if (signal.aborted) return;
    this.#failingSince ??= clock.monotonic();
    const failing = clock.monotonic() - this.#failingSince;
    logger.warn(
      { worker_id: host.workerId, outcome: toCaissonError(error).code, failing_ms: failing, err: error },
      "the worker does not answer",
    );
    if (failing <= UNREACHABLE_AFTER_MS) return;
    if (this.#known !== "unreachable") await this.#remember("unreachable");
    for (const { sandbox } of rows) if (!isTerminal(sandbox.state)) await states.observe(sandbox, "worker_unreachable");
  }

  async #remember(state: WorkerState): Promise<void> {
    const { host, store } = this.#options;
    await store.workers.remember(host.workerId, state, this.#seenAt);
    this.#known = state;
  }
}
