import { CaissonError, isTerminal, toCaissonError, type Clock, type HostSandbox, type UnreadSandbox } from "@caisson/contract";
import type { LeasedSandbox, SandboxRecord, Store } from "@caisson/store";
import type { Cleaner } from "./cleaner.ts";
import type { Hosts } from "./hosts.ts";
import type { Logger } from "./logger.ts";
import { Loop } from "./loop.ts";
import { SingleFlight } from "./single-flight.ts";
import type { Starter } from "./starter.ts";
import type { StateWriter } from "./state-writer.ts";
import { withDeadline } from "./with-deadline.ts";
import type { RefusalReason, Refusals } from "./workers/refusals.ts";

/** Time a worker has to tell its inventory, in ms. */
const INVENTORY_DEADLINE_MS = 15_000;
/** Time a worker has to tell of one sandbox, in ms. */
const INSPECT_DEADLINE_MS = 5_000;
/** How long a worker is one control plane's to reconcile without another word, in ms. */
const CLAIM_MS = 30_000;

/** Sandboxes that an inventory lacks and that are asked for at once: one that is not told of holds up few others. */
const ABSENT_AT_ONCE = 16;

/** Boxes that nobody owns and that one round destroys; the next round sees the rest. */
const ORPHANS_AT_ONCE = 256;

/** What a reconciler needs. */
export interface ReconcilerOptions {
  readonly clock: Clock;
  readonly store: Store;
  readonly hosts: Hosts;
  readonly workerId: string;
  /** Id of this control plane. */
  readonly self: string;
  readonly refusals: Refusals;
  readonly states: StateWriter;
  readonly starter: Starter;
  readonly cleaner: Cleaner;
  readonly logger: Logger;
  /** Rest between two rounds, in ms. */
  readonly everyMs: number;
  readonly signal: AbortSignal;
  /** The worker has become this control plane's to reconcile. */
  readonly taken: (workerId: string) => void;
}

/**
 * Brings the rows of one worker and its boxes together, at start and again and again, while this control plane has a way to it
 * and no other one does it.
 *
 * The rows are read before and after the inventory. A box that is missing counts as gone only for a row that said "running"
 * before the inventory was asked for and is unchanged since; a box that nobody owns is an orphan only by rows read after it,
 * because a creation writes its row before it starts its box. What cannot be read of an inventory says of no sandbox that it is gone.
 */
export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #loop: Loop;
  readonly #rechecks = new SingleFlight<void>();
  readonly #firstRound = Promise.withResolvers<void>();
  #holds = false;
  /** What was last told of what cannot be read. */
  #toldUnread: string | undefined;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    const { clock, logger, workerId } = options;
    this.#loop = new Loop({ name: `reconcile ${workerId}`, clock, logger, round: () => this.#round() });
  }

  /** Resolves when the first round is over, whatever it brought. */
  get firstRound(): Promise<void> {
    return this.#firstRound.promise;
  }

  /** Whether the worker is this control plane's to reconcile. */
  get holds(): boolean {
    return this.#holds;
  }

  /** Runs until the signal is aborted, then leaves the worker to others. */
  async run(): Promise<void> {
    await this.#loop.run(this.#options.signal);
    this.#firstRound.resolve();
    if (this.#holds) await this.#leave().catch(() => undefined); // it ends by itself in 30 s
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
        if (box !== undefined && box.epoch > sandbox.epoch) await this.#refuse(box, "epoch_too_high", sandbox.epoch);
        else if (box === undefined || (box.state === "stopped" && box.epoch === sandbox.epoch)) await this.#gone(sandbox, box);
        else if (box.epoch === sandbox.epoch) await this.#found(sandbox, box);
      } catch (error) {
        this.#options.logger.debug({ sandbox_id: sandbox.id, outcome: toCaissonError(error).code }, "a recheck failed");
        this.nudge();
      }
    });
  }

  async #round(): Promise<number> {
    const { everyMs, self, signal, store, workerId } = this.#options;
    try {
      const held = this.#holds;
      this.#holds = !signal.aborted && (await store.workers.claim(workerId, self, CLAIM_MS));
      if (!this.#holds) return everyMs;
      if (!(await this.#reconcile())) {
        // Another control plane may have a better way to it.
        await this.#leave();
        return everyMs;
      }
      if (!held) this.#options.taken(workerId);
      return everyMs;
    } finally {
      this.#firstRound.resolve();
    }
  }

  /** One round; whether the worker told what it has. */
  async #reconcile(): Promise<boolean> {
    const { clock, hosts, logger, signal, store, workerId } = this.#options;
    const host = hosts.get(workerId);
    if (host === undefined) return false;
    const before = await store.leases.ofWorker(workerId);
    let inventory: readonly (HostSandbox | UnreadSandbox)[];
    try {
      const deadline = { clock, ms: INVENTORY_DEADLINE_MS, what: `the inventory of ${workerId}`, signal };
      inventory = await withDeadline(deadline, (inner) => host.inventory(inner));
    } catch (error) {
      // Whether it is there at all, its heartbeats tell.
      if (!signal.aborted) logger.warn({ worker_id: workerId, outcome: toCaissonError(error).code, err: error }, "an inventory failed");
      return false;
    }
    const after = new Map((await store.leases.ofWorker(workerId)).map((entry) => [entry.sandbox.id, entry]));
    const unread = inventory.filter((item) => item.state === "unread");
    const boxes = new Map(inventory.filter((item) => item.state !== "unread").map((box) => [box.sandboxId, box]));
    await this.#tellUnread(unread);
    let orphans = 0;
    for (const box of boxes.values()) {
      const entry = after.get(box.sandboxId);
      // A worker may make up as many as it likes: each is a look into the database, a line of the log and a call.
      if (entry === undefined && (orphans += 1) > ORPHANS_AT_ONCE) continue;
      await this.#box(box, entry);
    }
    for (const { sandbox } of after.values()) this.#unfinished(sandbox);
    const unclear = new Set(unread.map(({ sandboxId }) => sandboxId));
    // One that cannot be told by its id may be any of those that seem to be missing.
    if (!unclear.has(null)) {
      const absent = before
        .map(({ sandbox }) => sandbox)
        .filter(({ id, version }) => !boxes.has(id) && !unclear.has(id) && after.get(id)?.sandbox.version === version);
      await this.#eachAbsent(absent);
    }
    if (await store.workers.recount(workerId)) logger.warn({ worker_id: workerId }, "what it was promised was counted wrong");
    return true;
  }

  /** Tells of what an inventory had that cannot be read, once while it stays the same. */
  async #tellUnread(unread: readonly UnreadSandbox[]): Promise<void> {
    const { refusals, workerId } = this.#options;
    const [first] = unread;
    const told = first === undefined ? undefined : `${first.sandboxId} ${first.problem} ${unread.length}`;
    if (first !== undefined && told !== this.#toldUnread) {
      const data = { sandbox_id: first.sandboxId, problem: first.problem, sandboxes: unread.length };
      // One that comes soon after another is told in a later round.
      if (!(await refusals.report(workerId, "unreadable_sandbox", data))) return;
    }
    this.#toldUnread = told;
  }

  async #leave(): Promise<void> {
    const { self, store, workerId } = this.#options;
    this.#holds = false;
    await store.workers.unclaim(workerId, self);
  }

  /** A box, and the row with a lease on this worker if there is one. */
  async #box(box: HostSandbox, entry: LeasedSandbox | undefined): Promise<void> {
    const { cleaner, workerId } = this.#options;
    if (entry === undefined) return this.#orphan(box);
    const { sandbox } = entry;
    if (box.epoch > sandbox.epoch) return this.#refuse(box, "epoch_too_high", sandbox.epoch);
    if (isTerminal(sandbox.state) || sandbox.state === "creating") return; // see #unfinished
    if (box.epoch < sandbox.epoch) return void cleaner.destroyOrphan(workerId, box.sandboxId, box.epoch);
    await this.#found(sandbox, box);
  }

  /** A box without a lease: of a sandbox that ended or went elsewhere, or one that this worker never had. */
  async #orphan(box: HostSandbox): Promise<void> {
    const { cleaner, logger, store, workerId } = this.#options;
    const row = await store.sandboxes.get(box.sandboxId);
    if (row === undefined) await this.#refuse(box, "unknown_sandbox", null);
    else if (box.epoch > row.epoch || (row.workerId !== workerId && box.epoch === row.epoch)) {
      await this.#refuse(box, row.workerId === workerId ? "epoch_too_high" : "foreign_sandbox", row.epoch);
    }
    logger.warn({ worker_id: workerId, sandbox_id: box.sandboxId, epoch: box.epoch }, "a box that nobody owns is destroyed");
    // The worker may have seen a higher epoch than its box has, and destroys nothing below that.
    const epoch = Math.max(box.epoch, row?.epoch ?? 0);
    void cleaner.destroyOrphan(workerId, box.sandboxId, epoch);
  }

  /** What cannot be true: it is reported, and no row follows it. */
  async #refuse(box: HostSandbox, reason: RefusalReason, epoch: number | null): Promise<void> {
    const { refusals, workerId } = this.#options;
    await refusals.report(workerId, reason, { sandbox_id: box.sandboxId, box_epoch: box.epoch, epoch });
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

  async #eachAbsent(absent: SandboxRecord[]): Promise<void> {
    const work = async (): Promise<void> => {
      for (let sandbox = absent.pop(); sandbox !== undefined; sandbox = absent.pop()) await this.#absent(sandbox);
    };
    await Promise.all(Array.from({ length: ABSENT_AT_ONCE }, work));
  }

  /** A row without a box. Asked for by name once more, because ending it cannot be taken back. */
  async #absent(sandbox: SandboxRecord): Promise<void> {
    if (isTerminal(sandbox.state) || sandbox.state === "creating") return;
    let box: HostSandbox | undefined;
    try {
      box = await this.#inspect(sandbox.id);
    } catch (error) {
      // The next round asks again; what there is to do about the others does not wait for this one.
      const { code } = toCaissonError(error);
      this.#options.logger.warn(
        { worker_id: sandbox.workerId, sandbox_id: sandbox.id, outcome: code },
        "a worker does not tell of a sandbox",
      );
      return;
    }
    if (box === undefined || (box.state === "stopped" && box.epoch <= sandbox.epoch)) await this.#gone(sandbox, box);
  }

  async #gone(sandbox: SandboxRecord, box: HostSandbox | undefined): Promise<void> {
    const message = box?.reason ?? (box === undefined ? "Its worker no longer has it." : "Its box has ended.");
    await this.#options.states.observe(sandbox, "found_gone", { reason: { code: "box_gone", message } });
  }

  /** What a crash or a failed call left: creations are driven on, ended ones are cleaned up. */
  #unfinished(sandbox: SandboxRecord): void {
    if (sandbox.state === "creating") void this.#options.starter.takeOver(sandbox);
    else if (isTerminal(sandbox.state)) void this.#options.cleaner.clean(sandbox);
  }

  async #inspect(id: string): Promise<HostSandbox | undefined> {
    const { clock, hosts, signal, workerId } = this.#options;
    const host = hosts.get(workerId);
    if (host === undefined) throw new CaissonError("worker_unavailable", `There is no way to the worker ${workerId}.`);
    const deadline = { clock, ms: INSPECT_DEADLINE_MS, what: `word of ${id}`, signal };
    const box = await withDeadline(deadline, (inner) => host.inspect(id, inner));
    if (box !== undefined && box.sandboxId !== id) throw new CaissonError("protocol_error", "The worker answered of another sandbox.");
    return box;
  }
}
