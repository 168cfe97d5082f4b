import { isTerminal, type Amounts, type Sandbox, type SandboxState, type WorkerState } from "@caisson/contract";
import type { Row, RowChange, SimDatabase } from "../sim-database.ts";
import type { SimMachine } from "../sim-host.ts";
import type { Simulation } from "../simulation.ts";
import { DEADLINES_MS } from "./deadlines.ts";

/** Cores are fractions, whose sums are not exact. */
const ROUNDING = 1e-6;

/** What is known of a sandbox from outside: what was written, asked for, and told to users. */
export interface Entry {
  readonly id: string;
  workerId: string;
  version: number;
  epoch: number;
  state: SandboxState;
  /** True time at which it was reserved. */
  readonly bornAt: number;
  /** True time at which its present state began. */
  since: number;
  /** Wall-clock times of the database between which its time to live may end. */
  earliestEnd: number;
  latestEnd: number;
  /** A create of it was answered with success. */
  acknowledged: boolean;
  destroyAsked: boolean;
  /** True time at which a destroy was answered; undefined while none was. */
  destroyedAt: number | undefined;
}

interface Lease {
  readonly workerId: string;
  readonly epoch: number;
  readonly amounts: Amounts;
}

interface WorkerEntry {
  state: WorkerState;
  adminDrain: boolean;
  selfDrain: boolean;
  reserved: Amounts;
  capacity: Amounts;
  tenantId: string | null;
  labels: Readonly<Record<string, string>>;
  /** True time until which it was unreachable or removed; undefined when it never was. */
  goneUntil: number | undefined;
}

/** How often each amount may be promised; sandboxes never more than once. */
export interface Overcommit {
  readonly vcpus: number;
  readonly memory: number;
  readonly disk: number;
}

const AMOUNTS = ["vcpus", "memory_mb", "disk_mb", "sandboxes"] as const;

/** Watches every row that is written and every answer that is given, and says which promise was broken. */
export class FleetLedger {
  readonly entries = new Map<string, Entry>();
  readonly leases = new Map<string, Lease>();
  readonly workers = new Map<string, WorkerEntry>();
  /** Workers that an admin wants to be rid of with all that they have. */
  readonly forced = new Set<string>();
  readonly #keys = new Map<string, string>();
  readonly #simulation: Simulation;
  readonly #database: SimDatabase;
  readonly #machines: ReadonlyMap<string, SimMachine>;
  readonly #overcommit: Overcommit;
  readonly #maxLive: number;
  readonly #unreachableAfterMs: number;
  /** True time at which a heartbeat of each worker was last answered. */
  readonly #heard = new Map<string, number>();
  /** Events of sandboxes in the order in which they were written. */
  readonly #told = new Map<string, string[]>();
  #live = 0;
  /** How many sandboxes are being created. */
  creating = 0;
  /** How many creations went on at another worker. */
  moves = 0;
  /** True time since which a control plane and the database have been there; undefined while they are not. */
  aliveSince: number | undefined;

  constructor(given: {
    readonly simulation: Simulation;
    readonly database: SimDatabase;
    readonly machines: ReadonlyMap<string, SimMachine>;
    readonly overcommit: Overcommit;
    readonly maxLive: number;
    readonly unreachableAfterMs: number;
  }) {
    this.#simulation = given.simulation;
    this.#database = given.database;
    this.#machines = given.machines;
    this.#overcommit = given.overcommit;
    this.#maxLive = given.maxLive;
    this.#unreachableAfterMs = given.unreachableAfterMs;
  }

  /** Takes in what one call wrote; nothing when it was rolled back. */
  wrote(changes: readonly RowChange[]): void {
    if (changes.length === 0) return;
    /** Changes of state that an event has to tell, in order. */
    const untold: { readonly id: string; readonly type: string }[] = [];
    const counted = new Set<string>();
    const grown = new Set<string>();
    for (const change of changes) {
      switch (change.table) {
        case "sandboxes":
          this.#sandbox(change, untold);
          break;
        case "leases":
          this.#lease(change, counted);
          break;
        case "workers":
          this.#worker(change, counted, grown);
          break;
        case "events":
          this.#event(change, untold);
          break;
        default:
          change.table satisfies never;
      }
    }
    for (const { id, type } of untold) this.#violate(`no event ${type} tells of ${id}`);
    for (const id of counted) this.#exact(id);
    for (const id of grown) this.#fits(id);
    for (const change of changes) if (change.table === "sandboxes" && change.after !== undefined) this.#owned(String(change.after["id"]));
  }

  /** Whether a worker is in one of these states. */
  anyWorker(states: readonly WorkerState[]): boolean {
    for (const { state } of this.workers.values()) if (states.includes(state)) return true;
    return false;
  }

  /** A heartbeat was answered. */
  heard(workerId: string): void {
    this.#heard.set(workerId, this.#simulation.now);
  }

  /** A box came up on a machine. */
  booted(machine: SimMachine, id: string, epoch: number): void {
    for (const other of this.#machines.values()) {
      const box = other.boxes.get(id);
      if (other !== machine && box !== undefined && box.ghost !== true)
        this.#violate(`${id} runs on ${other.workerId} and on ${machine.workerId}`);
    }
    const entry = this.entries.get(id);
    if (entry === undefined) return this.#violate(`a box of ${id} runs, which was never reserved`);
    if (epoch > entry.epoch) this.#violate(`a box of ${id} runs with epoch ${epoch}, and its row has ${entry.epoch}`);
    if (epoch === entry.epoch && entry.workerId !== machine.workerId) {
      this.#violate(`a box of ${id} runs on ${machine.workerId}, and epoch ${epoch} is the right of ${entry.workerId}`);
    }
  }

  /** A user who asked at `askedAt` was told of a sandbox. */
  told(sandbox: Sandbox, how: "create" | "get" | "destroy" | "list", askedAt: number): void {
    const entry = this.entries.get(sandbox.id);
    if (entry === undefined) return this.#violate(`${how} tells of ${sandbox.id}, which was never written`);
    if (entry.destroyedAt !== undefined && askedAt > entry.destroyedAt && sandbox.state !== "destroyed") {
      this.#violate(`${how} shows ${sandbox.id} as ${sandbox.state} after its destruction was acknowledged`);
    }
    if (how === "create") {
      entry.acknowledged = true;
      if (sandbox.state === "creating" || sandbox.state === "error")
        this.#violate(`create answered with ${sandbox.id} in ${sandbox.state}`);
    }
    if (how === "destroy") {
      if (sandbox.state !== "destroyed") this.#violate(`destroy answered with ${sandbox.id} in ${sandbox.state}`);
      entry.destroyedAt ??= this.#simulation.now;
    }
  }

  /** A user was told that there is no such sandbox. */
  denied(id: string): void {
    if (this.entries.has(id)) this.#violate(`${id} was reserved and is said not to exist`);
  }

  /** An Idempotency-Key answered with this sandbox. */
  keyed(key: string, id: string): void {
    const before = this.#keys.get(key);
    if (before !== undefined && before !== id) this.#violate(`the key ${key} answered with ${before} and with ${id}`);
    this.#keys.set(key, id);
  }

  /** A user asks for another time to live: from now on both the old and the new end are possible. */
  extending(id: string, ttlMs: number): void {
    const entry = this.entries.get(id);
    if (entry !== undefined) entry.earliestEnd = Math.min(entry.earliestEnd, this.#database.now() + ttlMs);
  }

  /** What nobody writes and must be all the same: nothing is late. */
  inspect(): void {
    for (const entry of this.entries.values()) this.#late(entry);
  }

  /** What must hold when nothing has happened for long enough; the first thing that does not. */
  unrest(): string | undefined {
    for (const machine of this.#machines.values()) {
      const forgotten = machine.liar || this.workers.get(machine.workerId)?.state === "removed";
      for (const [id, box] of forgotten ? [] : machine.boxes) {
        const entry = this.entries.get(id);
        if (entry === undefined || isTerminal(entry.state) || entry.workerId !== machine.workerId || entry.epoch !== box.epoch) {
          return `a box of ${id} is left on ${machine.workerId} though it is ${entry?.state ?? "unknown"}`;
        }
      }
    }
    for (const [id, lease] of this.leases) {
      const entry = this.entries.get(id);
      if (entry === undefined || isTerminal(entry.state)) return `${id} is ${entry?.state} and ${lease.workerId} still has a lease of it`;
    }
    return this.untrue();
  }

  /** A state that is shown and is not so; of those that are `known`, which creations are not yet. */
  untrue(which: "all" | "known" = "all"): string | undefined {
    for (const entry of this.entries.values()) {
      if (isTerminal(entry.state) || (which === "known" && entry.state === "creating")) continue;
      const box = this.#machines.get(entry.workerId)?.boxes.get(entry.id);
      if (entry.state !== "running") return `${entry.id} is ${entry.state}, its box on ${entry.workerId} ${box?.state ?? "gone"}`;
      if (box?.state !== "running" || box.epoch !== entry.epoch) return `${entry.id} is running and its box ${box?.state ?? "gone"}`;
    }
    return undefined;
  }

  /** Compares what was learnt of each write with what the tables say in the end. */
  checkTables(): void {
    const rows = new Map(this.#database.rows("select id, version, epoch, state from sandboxes").map((row) => [String(row["id"]), row]));
    for (const entry of this.entries.values()) {
      const row = rows.get(entry.id);
      if (row?.["version"] !== entry.version || row["state"] !== entry.state || row["epoch"] !== entry.epoch) {
        this.#violate(`${entry.id} was changed by nobody`);
      }
    }
    const wrong = this.#database.rows(
      `select workers.id from workers left join leases on leases.worker_id = workers.id group by workers.id
       having count(leases.sandbox_id) <> reserved_sandboxes or coalesce(sum(leases.memory_mb), 0) <> reserved_memory_mb`,
    );
    for (const row of wrong) this.#violate(`the counters of ${String(row["id"])} are not the sum of its leases`);
  }

  #violate(message: string): void {
    this.#simulation.violate(message);
  }

  #sandbox({ before, after }: RowChange, untold: { id: string; type: string }[]): void {
    if (after === undefined) return this.#violate(`${String(before?.["id"])} is gone from the store`);
    const row = sandboxRow(after);
    if (before === undefined) return this.#reserved(row, untold);
    const entry = this.entries.get(row.id);
    if (entry === undefined) return this.#violate(`${row.id} was written and never reserved`);
    const was = entry.state;
    if (row.version !== entry.version && row.version !== entry.version + 1) {
      this.#violate(`${row.id} went from version ${entry.version} to ${row.version}`);
    }
    const same = row.state === was && row.epoch === entry.epoch && row.workerId === entry.workerId && row.expiresAt === entry.latestEnd;
    if (row.version === entry.version && !same) this.#violate(`${row.id} changed and kept its version ${row.version}`);
    if (row.epoch < entry.epoch) this.#violate(`${row.id} went back from epoch ${entry.epoch} to ${row.epoch}`);
    if (row.workerId !== entry.workerId) this.#moved(entry, row);
    if (isTerminal(was) && (row.state !== "destroyed" || was === "destroyed") && row.version !== entry.version) {
      this.#violate(`${row.id} was ${was} and became ${row.state}`);
    }
    if (was !== row.state) {
      untold.push({ id: row.id, type: `sandbox.${row.state}` });
      entry.since = this.#simulation.now;
      if (isTerminal(row.state) && !isTerminal(was)) this.#live -= 1;
      if (was === "creating") this.creating -= 1;
      if (row.state === "creating") this.creating += 1;
    }
    if (row.expiresAt !== entry.latestEnd) entry.earliestEnd = entry.latestEnd = row.expiresAt;
    const wasOn = entry.workerId;
    entry.version = row.version;
    entry.epoch = row.epoch;
    entry.workerId = row.workerId;
    entry.state = row.state;
    if (was !== row.state) this.#justified(entry, was, wasOn);
  }

  #reserved(row: SandboxRow, untold: { id: string; type: string }[]): void {
    const { now } = this.#simulation;
    if (this.entries.has(row.id)) this.#violate(`${row.id} was reserved twice`);
    this.entries.set(row.id, {
      ...row,
      bornAt: now,
      since: now,
      earliestEnd: row.expiresAt,
      latestEnd: row.expiresAt,
      acknowledged: false,
      destroyAsked: false,
      destroyedAt: undefined,
    });
    untold.push({ id: row.id, type: "sandbox.created" });
    this.#live += 1;
    this.creating += 1;
    if (this.#maxLive > 0 && this.#live > this.#maxLive) this.#violate(`${this.#live} sandboxes live, ${this.#maxLive} allowed`);
    this.#takes(row);
  }

  /** A creation went elsewhere: only when the first worker has nothing of it, and with a higher epoch. */
  #moved(entry: Entry, row: SandboxRow): void {
    if (entry.state !== "creating") this.#violate(`${row.id} was moved while it was ${entry.state}`);
    if (row.epoch <= entry.epoch) this.#violate(`${row.id} was moved and kept its epoch ${row.epoch}`);
    const first = this.#machines.get(entry.workerId);
    if (first?.holds(row.id) === true && !first.unreliable) this.#violate(`${row.id} was moved while ${entry.workerId} still had it`);
    this.moves += 1;
    this.#takes(row);
  }

  /** A worker gets something new. */
  #takes(row: SandboxRow): void {
    const worker = this.workers.get(row.workerId);
    if (worker === undefined) return this.#violate(`${row.id} went to ${row.workerId}, which nobody knows`);
    if (worker.state !== "online" || worker.adminDrain || worker.selfDrain) {
      const drained = worker.adminDrain || worker.selfDrain ? " and drained" : "";
      this.#violate(`${row.id} went to ${row.workerId}, which is ${worker.state}${drained}`);
    }
    if (worker.tenantId !== null && worker.tenantId !== row.tenantId) {
      this.#violate(`${row.id} of ${row.tenantId} went to ${row.workerId}, which is for ${worker.tenantId}`);
    }
    const { asked } = row;
    if (asked.worker_id !== undefined && asked.worker_id !== row.workerId)
      this.#violate(`${row.id} asked for ${asked.worker_id}, got ${row.workerId}`);
    for (const [key, value] of Object.entries(asked.worker_labels ?? {})) {
      if (worker.labels[key] !== value) this.#violate(`${row.id} asked for ${key}=${value}, and ${row.workerId} has ${worker.labels[key]}`);
    }
  }

  #lease({ before, after }: RowChange, counted: Set<string>): void {
    const id = String((after ?? before)?.["sandbox_id"]);
    const known = this.leases.get(id);
    const entry = this.entries.get(id);
    for (const row of [before, after]) if (row !== undefined) counted.add(String(row["worker_id"]));
    if (after === undefined) {
      this.leases.delete(id);
      if (entry === undefined || known === undefined) return this.#violate(`a lease of ${id} ended that never was`);
      if (!isTerminal(entry.state)) this.#violate(`the lease of ${id} ended while it was ${entry.state}`);
      this.#released(entry);
      return;
    }
    const lease = leaseRow(after);
    if (before === undefined && known !== undefined) this.#violate(`${id} has two leases`);
    if (known !== undefined && lease.epoch < known.epoch) this.#violate(`the lease of ${id} went back to epoch ${lease.epoch}`);
    this.leases.set(id, lease);
  }

  /** A lease ends when the machine has nothing left; or when it cannot be asked, and destroys by epoch when it is back. */
  #released(entry: Entry): void {
    const machine = this.#machines.get(entry.workerId);
    const worker = this.workers.get(entry.workerId);
    // It may be back at this very moment: then it is asked for what it has, and destroys it.
    if (worker === undefined || this.#simulation.now - (worker.goneUntil ?? -Infinity) < DEADLINES_MS.query) return;
    if (machine?.holds(entry.id) === true && !machine.unreliable) this.#violate(`the lease of ${entry.id} ended before its box`);
  }

  #worker({ before, after }: RowChange, counted: Set<string>, grown: Set<string>): void {
    const id = String((after ?? before)?.["id"]);
    if (after === undefined) return void this.workers.delete(id);
    const worker = workerRow(after);
    const was = this.workers.get(id);
    const gone = (state: WorkerState | undefined): boolean => state === "unreachable" || state === "removed";
    if (gone(worker.state)) worker.goneUntil = Infinity;
    else worker.goneUntil = gone(was?.state) ? this.#simulation.now : was?.goneUntil;
    this.workers.set(id, worker);
    counted.add(id);
    if (AMOUNTS.some((name) => worker.reserved[name] > (was?.reserved[name] ?? 0) + ROUNDING)) grown.add(id);
    if (worker.state === "removed" && was?.state !== "removed") {
      for (const entry of this.entries.values()) {
        if (entry.workerId === id && !isTerminal(entry.state))
          this.#violate(`${id} was removed while ${entry.id} was ${entry.state} there`);
      }
    }
  }

  /** What a worker was promised is the sum of its leases. */
  #exact(id: string): void {
    const worker = this.workers.get(id);
    if (worker === undefined) return;
    const sum: Amounts = { vcpus: 0, memory_mb: 0, disk_mb: 0, sandboxes: 0 };
    for (const { workerId, amounts } of this.leases.values()) {
      if (workerId === id) for (const name of AMOUNTS) sum[name] += amounts[name];
    }
    for (const name of AMOUNTS) {
      if (Math.abs(worker.reserved[name] - sum[name]) > ROUNDING) {
        this.#violate(`${id} is counted as having promised ${worker.reserved[name]} ${name}, and its leases have ${sum[name]}`);
      }
    }
  }

  /** A promise was made: it must be there to give. */
  #fits(id: string): void {
    const worker = this.workers.get(id);
    if (worker === undefined) return;
    const { vcpus, memory, disk } = this.#overcommit;
    const { capacity, reserved } = worker;
    const bounds: Amounts = {
      vcpus: capacity.vcpus * vcpus,
      memory_mb: capacity.memory_mb * memory,
      disk_mb: capacity.disk_mb * disk,
      sandboxes: capacity.sandboxes === 0 ? Infinity : capacity.sandboxes,
    };
    for (const name of AMOUNTS) {
      if (reserved[name] > bounds[name] + ROUNDING) this.#violate(`${id} has promised ${reserved[name]} of ${bounds[name]} ${name}`);
    }
  }

  /** Rows and leases tell the same. */
  #owned(id: string): void {
    const entry = this.entries.get(id);
    if (entry === undefined) return;
    const lease = this.leases.get(id);
    if (lease === undefined && !isTerminal(entry.state)) this.#violate(`${id} is ${entry.state} without a lease`);
    if (lease !== undefined && (lease.epoch !== entry.epoch || lease.workerId !== entry.workerId)) {
      this.#violate(`${id} is ${entry.workerId}'s by epoch ${entry.epoch}, its lease ${lease.workerId}'s by ${lease.epoch}`);
    }
  }

  /** Each change is told once, by the transaction that makes it. */
  #event({ after }: RowChange, untold: { id: string; type: string }[]): void {
    const type = String(after?.["type"]);
    if (!STATE_EVENTS.has(type)) return;
    const id = String(after?.["resource_id"]);
    const at = untold.findIndex((one) => one.id === id && one.type === type);
    if (at < 0) this.#violate(`an event tells ${type} of ${id}, which did not happen`);
    untold.splice(at, 1);
    const list = this.#told.get(id) ?? [];
    list.push(type);
    this.#told.set(id, list);
  }

  /** Events as readers get them are in the order of what happened. */
  checkEvents(read: readonly { readonly seq: number; readonly type: string; readonly resource_id: string }[]): void {
    let seq = 0;
    const seen = new Map<string, string[]>();
    for (const event of read) {
      if (event.seq <= seq) this.#violate(`event ${event.seq} came after ${seq}`);
      seq = event.seq;
      if (!STATE_EVENTS.has(event.type)) continue;
      const list = seen.get(event.resource_id) ?? [];
      list.push(event.type);
      seen.set(event.resource_id, list);
    }
    for (const [id, expected] of this.#told) {
      const got = seen.get(id) ?? [];
      if (got.join() !== expected.join()) this.#violate(`${id} went through ${expected.join()}, its events tell ${got.join()}`);
    }
  }

  /** Nothing ends without a cause: else what was acknowledged would be lost. */
  #justified(entry: Entry, was: SandboxState, workerId: string): void {
    const machine = this.#machines.get(workerId);
    if (entry.state === "destroyed" && !entry.destroyAsked && !this.forced.has(workerId))
      this.#violate(`${entry.id} was destroyed and nobody asked for it`);
    if (entry.state === "error" && was !== "creating") this.#violate(`${entry.id} fell from ${was} to error`);
    if (entry.state === "stopped" && machine?.bereft.has(entry.id) !== true && machine?.unreliable !== true) {
      this.#violate(`${entry.id} was found gone though its box never went`);
    }
    const silence = this.#simulation.now - (this.#heard.get(workerId) ?? -Infinity);
    if (entry.state === "missing" && silence < this.#unreachableAfterMs - DEADLINES_MS.clock) {
      this.#violate(`${entry.id} is missing though ${workerId} was heard ${silence} ms ago`);
    }
    const now = this.#database.now();
    if (entry.state === "expired" && now < entry.earliestEnd - DEADLINES_MS.clock) {
      this.#violate(`${entry.id} expired ${entry.earliestEnd - now} ms early`);
    }
  }

  #late(entry: Entry): void {
    if (this.aliveSince === undefined || isTerminal(entry.state)) return;
    const { now } = this.#simulation;
    const since = Math.max(entry.since, this.aliveSince);
    if (entry.state === "creating" && now - since > DEADLINES_MS.creation) {
      this.#violate(`${entry.id} has been creating for ${now - entry.since} ms`);
    }
    const over = this.#database.now() - entry.latestEnd;
    if (over > DEADLINES_MS.late && now - this.aliveSince > DEADLINES_MS.late) this.#violate(`${entry.id} outlived its time by ${over} ms`);
  }
}

const STATE_EVENTS: ReadonlySet<string> = new Set(
  ["created", "running", "pausing", "paused", "resuming", "unhealthy", "missing", "error", "stopped", "expired", "destroyed"].map(
    (state) => `sandbox.${state}`,
  ),
);

interface SandboxRow {
  readonly id: string;
  readonly version: number;
  readonly epoch: number;
  readonly state: SandboxState;
  readonly workerId: string;
  readonly expiresAt: number;
  readonly tenantId: string | null;
  readonly asked: { readonly worker_id?: string; readonly worker_labels?: Readonly<Record<string, string>> };
}

function sandboxRow(row: Row): SandboxRow {
  const placement = JSON.parse(String(row["placement"])) as { readonly asked?: SandboxRow["asked"] } | null;
  return {
    id: String(row["id"]),
    version: Number(row["version"]),
    epoch: Number(row["epoch"]),
    state: String(row["state"]) as SandboxState,
    workerId: String(row["worker_id"]),
    expiresAt: Number(row["expires_at"]),
    tenantId: row["tenant_id"] === null ? null : String(row["tenant_id"]),
    asked: placement?.asked ?? {},
  };
}

function leaseRow(row: Row): Lease {
  const amounts = { vcpus: Number(row["vcpus"]), memory_mb: Number(row["memory_mb"]), disk_mb: Number(row["disk_mb"]), sandboxes: 1 };
  return { workerId: String(row["worker_id"]), epoch: Number(row["epoch"]), amounts };
}

function workerRow(row: Row): WorkerEntry {
  return {
    state: String(row["state"]) as WorkerState,
    adminDrain: row["admin_drain"] === 1,
    selfDrain: row["self_drain"] === 1,
    tenantId: row["tenant_id"] === null ? null : String(row["tenant_id"]),
    labels: JSON.parse(String(row["labels"])) as Record<string, string>,
    capacity: JSON.parse(String(row["capacity"])) as Amounts,
    goneUntil: undefined,
    reserved: {
      vcpus: Number(row["reserved_vcpus"]),
      memory_mb: Number(row["reserved_memory_mb"]),
      disk_mb: Number(row["reserved_disk_mb"]),
      sandboxes: Number(row["reserved_sandboxes"]),
    },
  };
}
