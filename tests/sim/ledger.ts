import { TRANSITIONAL_DEADLINES, isTerminal, type Sandbox, type SandboxState, type WorkerState } from "@caisson/contract";
import type { Moved, Reservation, ReserveSandbox, SandboxRecord, Store, WorkerRecord } from "@caisson/store";
import { AnswerPromises, type Answered } from "./answer-promises.ts";
import type { SimMachine } from "./sim-host.ts";
import type { Simulation } from "./simulation.ts";

/** Slow corrections of the clock may add up to this, in ms. */
const CLOCK_SLACK_MS = 2_500;
/** How late a deadline may be kept while a control plane lives and its database answers, in ms. */
const LATE_MS = 45_000;

/** What is known of a sandbox from outside: what was written, asked for, and told to users. */
interface Entry extends Answered {
  workerId: string;
  version: number;
  epoch: number;
  state: SandboxState;
  /** True time at which the present state began. */
  since: number;
  /** True times between which its time to live may end. */
  earliestEnd: number;
  latestEnd: number;
  /** The wall clock was set while nobody could notice: its time to live means nothing any more. */
  clockLost: boolean;
}

/** Watches every write and every answer, and says which promise was broken. */
export class Ledger {
  readonly entries = new Map<string, Entry>();
  readonly #answers: AnswerPromises;
  readonly #workers = new Map<string, WorkerState>();
  readonly #simulation: Simulation;
  readonly #machines: ReadonlyMap<string, SimMachine>;
  readonly #maxLive: number;
  /** True time since which a control plane has been alive; undefined while none is. */
  aliveSince: number | undefined;

  constructor(simulation: Simulation, machines: ReadonlyMap<string, SimMachine>, maxLive: number) {
    this.#simulation = simulation;
    this.#answers = new AnswerPromises(simulation, this.entries);
    this.#machines = machines;
    this.#maxLive = maxLive;
  }

  /** A write as the database took it. */
  wrote(method: string, args: readonly unknown[], result: unknown): void {
    if (method === "reserve") this.#reserved(args[0] as ReserveSandbox, result as Reservation);
    else if ((method === "apply" || method === "extend") && result !== undefined) this.#changed(result as SandboxRecord, args, method);
    else if (method === "raise" && result !== undefined) this.#raised(result as SandboxRecord);
    else if (method === "move") this.#moved(result as Moved);
    else if (method === "change") this.#workerChanged(result as WorkerRecord | undefined);
    else if (method === "release" && result === true) this.#released(args[0] as string);
    else if (method === "shift") {
      for (const entry of this.entries.values()) if (!isTerminal(entry.state)) entry.version += 1;
    }
  }

  /** A box came up on a machine. */
  booted(machine: SimMachine, id: string): void {
    for (const other of this.#machines.values()) {
      if (other !== machine && other.boxes.has(id))
        this.#simulation.violate(`${id} has boxes on ${other.workerId} and ${machine.workerId}`);
    }
    if (!this.entries.has(id)) this.#simulation.violate(`a box of ${id} runs, which was never reserved`);
  }

  /** The wall clock was set and the control plane died before it noticed, or was not there. */
  clockLost(): void {
    for (const entry of this.entries.values()) entry.clockLost = true;
  }

  /** A user who asked at `askedAt` was told of a sandbox. */
  told(sandbox: Sandbox, how: "create" | "get" | "destroy" | "list", askedAt: number): void {
    this.#answers.told(sandbox, how, askedAt);
  }

  /** A user was told that there is no such sandbox. */
  denied(id: string): void {
    this.#answers.denied(id);
  }

  /** An Idempotency-Key answered with this sandbox. */
  keyed(key: string, id: string): void {
    this.#answers.keyed(key, id);
  }

  /** A user asks for another time to live: from now on both the old and the new end are possible. */
  extending(id: string, ttlMs: number): void {
    const entry = this.entries.get(id);
    if (entry !== undefined) entry.earliestEnd = Math.min(entry.earliestEnd, this.#simulation.now + ttlMs);
  }

  /** Compares all rows with their leases and deadlines. */
  async inspect(store: Store): Promise<void> {
    const rows = await allRows(store);
    const leases = new Map<string, { workerId: string; epoch: number }>();
    for (const workerId of this.#machines.keys()) {
      for (const { sandbox, epoch } of await store.leases.ofWorker(workerId)) leases.set(sandbox.id, { workerId, epoch });
    }
    for (const [id, entry] of this.entries) if (!rows.has(id)) this.#simulation.violate(`${id} (${entry.state}) is gone from the store`);
    for (const row of rows.values()) {
      const entry = this.entries.get(row.id);
      if (entry?.version !== row.version || entry.state !== row.state) this.#simulation.violate(`${row.id} was changed by nobody`);
      const lease = leases.get(row.id);
      if (lease !== undefined && (lease.epoch !== row.epoch || lease.workerId !== row.workerId)) {
        this.#simulation.violate(`${row.id} has epoch ${row.epoch} and a lease of epoch ${lease.epoch}`);
      }
      if (lease === undefined && !isTerminal(row.state)) this.#simulation.violate(`${row.id} is ${row.state} without a lease`);
      this.#late(row);
    }
  }

  /** What must hold when nothing has happened for long enough; the first thing that does not. */
  async unrest(store: Store): Promise<string | undefined> {
    const rows = await allRows(store);
    for (const machine of this.#machines.values()) {
      for (const [id, box] of machine.boxes) {
        const row = rows.get(id);
        if (row === undefined || isTerminal(row.state) || row.workerId !== machine.workerId || row.epoch !== box.epoch) {
          return `a box of ${id} is left on ${machine.workerId} though it is ${row?.state ?? "unknown"}`;
        }
      }
      for (const { sandbox } of await store.leases.ofWorker(machine.workerId)) {
        if (isTerminal(sandbox.state)) return `${sandbox.id} is ${sandbox.state} and still has a lease`;
      }
    }
    for (const row of rows.values()) {
      if (isTerminal(row.state)) continue;
      const box = this.#machines.get(row.workerId)?.boxes.get(row.id);
      if (row.state !== "running") return `${row.id} is ${row.state}`;
      if (box?.state !== "running") return `${row.id} is running and its box ${box?.state ?? "gone"}`;
    }
    return undefined;
  }

  /** The events tell the same story as the rows. */
  async checkEvents(store: Store): Promise<void> {
    const last = new Map<string, string>();
    let seq = 0;
    for (const event of await store.events.after(0, 100_000)) {
      if (event.seq <= seq) this.#simulation.violate(`event ${event.seq} came after ${seq}`);
      seq = event.seq;
      if (event.resource_type !== "sandbox") continue;
      if (!last.has(event.resource_id) && event.type !== "sandbox.created") {
        this.#simulation.violate(`the first event of ${event.resource_id} is ${event.type}`);
      }
      if (event.type !== "sandbox.extended" && event.type !== "sandbox.released" && event.type !== "sandbox.placed")
        last.set(event.resource_id, event.type);
    }
    for (const row of (await allRows(store)).values()) {
      const expected = row.state === "creating" ? "sandbox.created" : `sandbox.${row.state}`;
      if (last.get(row.id) !== expected) this.#simulation.violate(`${row.id} is ${row.state}, its last event ${last.get(row.id)}`);
    }
  }

  #reserved(request: ReserveSandbox, reservation: Reservation): void {
    if (reservation.kind !== "reserved") {
      if (reservation.kind === "repeated" && request.idempotency !== undefined) this.keyed(request.idempotency.key, reservation.sandbox.id);
      return;
    }
    const { sandbox } = reservation;
    const { now } = this.#simulation;
    if (this.entries.has(sandbox.id)) this.#simulation.violate(`${sandbox.id} was reserved twice`);
    if (request.idempotency !== undefined) this.keyed(request.idempotency.key, sandbox.id);
    this.entries.set(sandbox.id, {
      workerId: sandbox.workerId,
      version: sandbox.version,
      epoch: sandbox.epoch,
      state: sandbox.state,
      since: now,
      earliestEnd: now + request.ttlMs,
      latestEnd: now + request.ttlMs,
      acknowledged: false,
      destroyAsked: false,
      destroyedAt: undefined,
      clockLost: false,
    });
    const live = [...this.entries.values()].filter((entry) => !isTerminal(entry.state)).length;
    if (this.#maxLive > 0 && live > this.#maxLive) this.#simulation.violate(`${live} sandboxes live, ${this.#maxLive} allowed`);
  }

  #changed(row: SandboxRecord, args: readonly unknown[], method: string): void {
    const entry = this.entries.get(row.id);
    if (entry === undefined) return this.#simulation.violate(`${row.id} was written and never reserved`);
    const was = entry.state;
    if (row.version !== entry.version + 1 || args[1] !== entry.version) {
      this.#simulation.violate(
        `${row.id} went from version ${entry.version} to ${row.version} by a writer that had read ${String(args[1])}`,
      );
    }
    if (row.epoch < entry.epoch) this.#simulation.violate(`${row.id} went back from epoch ${entry.epoch} to ${row.epoch}`);
    if (isTerminal(was) && (row.state !== "destroyed" || was === "destroyed")) {
      this.#simulation.violate(`${row.id} was ${was} and became ${row.state}`);
    }
    entry.version = row.version;
    entry.epoch = row.epoch;
    if (method === "extend") {
      entry.earliestEnd = entry.latestEnd = this.#simulation.now + (args[2] as number);
      return;
    }
    if (was !== row.state) entry.since = this.#simulation.now;
    entry.state = row.state;
    this.#justified(row, entry, was);
  }

  /** Its driver is about to leave its machine: nothing else changes. */
  #raised(row: SandboxRecord): void {
    const entry = this.entries.get(row.id);
    if (entry === undefined) return this.#simulation.violate(`${row.id} was raised and never reserved`);
    if (row.state !== "creating" || entry.state !== "creating" || row.workerId !== entry.workerId) {
      this.#simulation.violate(`${row.id} was raised while it was ${entry.state} on ${entry.workerId}`);
    }
    if (row.version !== entry.version + 1 || row.epoch !== entry.epoch + 2) {
      this.#simulation.violate(`${row.id} was raised from epoch ${entry.epoch} to ${row.epoch}`);
    }
    Object.assign(entry, { version: row.version, epoch: row.epoch });
  }

  /** A creation goes to another machine only when the first has no box of it. */
  #moved(moved: Moved): void {
    if (moved.kind !== "moved") return;
    const { sandbox } = moved;
    const entry = this.entries.get(sandbox.id);
    if (entry === undefined) return this.#simulation.violate(`${sandbox.id} was moved and never reserved`);
    if (entry.state !== "creating") this.#simulation.violate(`${sandbox.id} was moved while it was ${entry.state}`);
    if (sandbox.version !== entry.version + 1 || sandbox.epoch !== entry.epoch + 1) {
      this.#simulation.violate(`${sandbox.id} was moved from version ${entry.version} to ${sandbox.version}`);
    }
    const machine = this.#machines.get(entry.workerId);
    if (machine?.boxes.has(sandbox.id) === true && !machine.unreliable) this.#simulation.violate(`${sandbox.id} was moved and left a box`);
    Object.assign(entry, { workerId: sandbox.workerId, version: sandbox.version, epoch: sandbox.epoch });
  }

  #workerChanged(worker: WorkerRecord | undefined): void {
    if (worker !== undefined) this.#workers.set(worker.id, worker.state);
  }

  /** A lease ends only when the machine has nothing left of the sandbox, or cannot be reached. */
  #released(id: string): void {
    const entry = this.entries.get(id);
    const machine = this.#machines.get(entry?.workerId ?? "");
    const gone = this.#workers.get(entry?.workerId ?? "") === "unreachable";
    if (!gone && machine?.boxes.has(id) === true && !machine.unreliable)
      this.#simulation.violate(`the lease of ${id} ended before its box`);
    if (entry !== undefined && !isTerminal(entry.state)) this.#simulation.violate(`the lease of ${id} ended while it was ${entry.state}`);
  }

  /** Nothing ends without a cause: else what was acknowledged would be lost. */
  #justified(row: SandboxRecord, entry: Entry, was: SandboxState): void {
    const { now } = this.#simulation;
    if (row.state === "destroyed" && !entry.destroyAsked) this.#simulation.violate(`${row.id} was destroyed and nobody asked for it`);
    if (row.state === "error" && was !== "creating") this.#simulation.violate(`${row.id} fell from ${was} to error`);
    if (row.state === "stopped" && this.#machines.get(entry.workerId)?.bereft.has(row.id) !== true) {
      this.#simulation.violate(`${row.id} was found gone though its box never went`);
    }
    if (row.state === "expired" && !entry.clockLost && now < entry.earliestEnd - CLOCK_SLACK_MS) {
      this.#simulation.violate(`${row.id} expired ${entry.earliestEnd - now} ms early`);
    }
  }

  #late(row: SandboxRecord): void {
    const { now } = this.#simulation;
    const entry = this.entries.get(row.id);
    if (entry === undefined || this.aliveSince === undefined) return;
    const deadlines: Partial<Record<SandboxState, number>> = TRANSITIONAL_DEADLINES;
    const limit = deadlines[row.state];
    // A new control plane may begin the wait anew, once.
    const since = Math.max(entry.since, this.aliveSince);
    if (limit !== undefined && now - since > limit + LATE_MS)
      this.#simulation.violate(`${row.id} has been ${row.state} for ${now - entry.since} ms`);
    if (!isTerminal(row.state) && !entry.clockLost && now - Math.max(entry.latestEnd, this.aliveSince) > LATE_MS) {
      this.#simulation.violate(`${row.id} outlived its time by ${now - entry.latestEnd} ms`);
    }
  }
}

async function allRows(store: Store): Promise<Map<string, SandboxRecord>> {
  const { items } = await store.sandboxes.list({ states: "all", metadata: {}, limit: 1_000 });
  return new Map(items.map((row) => [row.id, row]));
}
