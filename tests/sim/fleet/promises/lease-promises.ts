import { isTerminal, type Amounts, type WorkerState } from "@caisson/contract";
import type { RowChange } from "../../sim-database.ts";
import { DEADLINES_MS } from "../deadlines.ts";
import type { Entry, FleetFacts } from "./fleet-facts.ts";
import { leaseRow, workerRow } from "./fleet-rows.ts";

/** Cores are fractions, whose sums are not exact. */
const ROUNDING = 1e-6;
const AMOUNTS = ["vcpus", "memory_mb", "disk_mb", "sandboxes"] as const;

/** A worker was promised the sum of its leases, and no more than it has; a lease ends when nothing is left, and says what its sandbox's row says. */
export class LeasePromises {
  readonly #facts: FleetFacts;
  /** Workers that the transaction under way has to do with, and those that were promised more in it. */
  readonly #counted = new Set<string>();
  readonly #grown = new Set<string>();

  constructor(facts: FleetFacts) {
    this.#facts = facts;
  }

  leaseWritten({ before, after }: RowChange): void {
    const id = String((after ?? before)?.["sandbox_id"]);
    const known = this.#facts.leases.get(id);
    const entry = this.#facts.entries.get(id);
    for (const row of [before, after]) if (row !== undefined) this.#counted.add(String(row["worker_id"]));
    if (after === undefined) {
      this.#facts.leases.delete(id);
      if (entry === undefined || known === undefined) return this.#facts.violate(`a lease of ${id} ended that never was`);
      if (!isTerminal(entry.state)) this.#facts.violate(`the lease of ${id} ended while it was ${entry.state}`);
      this.#released(entry);
      return;
    }
    const lease = leaseRow(after);
    if (before === undefined && known !== undefined) this.#facts.violate(`${id} has two leases`);
    if (known !== undefined && lease.epoch < known.epoch) this.#facts.violate(`the lease of ${id} went back to epoch ${lease.epoch}`);
    this.#facts.leases.set(id, lease);
  }

  workerWritten({ before, after }: RowChange): void {
    const id = String((after ?? before)?.["id"]);
    if (after === undefined) return void this.#facts.workers.delete(id);
    const worker = workerRow(after);
    const was = this.#facts.workers.get(id);
    const gone = (state: WorkerState | undefined): boolean => state === "unreachable" || state === "removed";
    const since = gone(was?.state) ? this.#facts.simulation.now : was?.goneUntil;
    this.#facts.workers.set(id, { ...worker, goneUntil: gone(worker.state) ? Infinity : since });
    this.#counted.add(id);
    if (AMOUNTS.some((name) => worker.reserved[name] > (was?.reserved[name] ?? 0) + ROUNDING)) this.#grown.add(id);
    if (worker.state === "removed" && was?.state !== "removed") {
      for (const entry of this.#facts.entries.values()) {
        if (entry.workerId === id && !isTerminal(entry.state))
          this.#facts.violate(`${id} was removed while ${entry.id} was ${entry.state} there`);
      }
    }
  }

  /** The transaction is over: counters and leases must fit now. */
  over(changes: readonly RowChange[]): void {
    for (const id of this.#counted) this.#exact(id);
    for (const id of this.#grown) this.#fits(id);
    this.#counted.clear();
    this.#grown.clear();
    for (const { table, after } of changes) if (table === "sandboxes" && after !== undefined) this.#owned(String(after["id"]));
  }

  /** In the end the counters in the table are the sums of its leases. */
  check(): void {
    const wrong = this.#facts.database.rows(
      `select workers.id from workers left join leases on leases.worker_id = workers.id group by workers.id
       having count(leases.sandbox_id) <> reserved_sandboxes or coalesce(sum(leases.memory_mb), 0) <> reserved_memory_mb`,
    );
    for (const row of wrong) this.#facts.violate(`the counters of ${String(row["id"])} are not the sum of its leases`);
  }

  /** A lease ends when the machine has nothing left; or when it cannot be asked, and destroys by epoch when it is back. */
  #released(entry: Entry): void {
    const machine = this.#facts.machines.get(entry.workerId);
    const worker = this.#facts.workers.get(entry.workerId);
    // It may be back at this very moment: then it is asked for what it has, and destroys it.
    if (worker === undefined || this.#facts.simulation.now - (worker.goneUntil ?? -Infinity) < DEADLINES_MS.query) return;
    if (machine?.holds(entry.id) === true && !machine.unreliable) this.#facts.violate(`the lease of ${entry.id} ended before its box`);
  }

  /** What a worker was promised is the sum of its leases. */
  #exact(id: string): void {
    const worker = this.#facts.workers.get(id);
    if (worker === undefined) return;
    const sum: Amounts = { vcpus: 0, memory_mb: 0, disk_mb: 0, sandboxes: 0 };
    for (const { workerId, amounts } of this.#facts.leases.values()) {
      if (workerId === id) for (const name of AMOUNTS) sum[name] += amounts[name];
    }
    for (const name of AMOUNTS) {
      if (Math.abs(worker.reserved[name] - sum[name]) > ROUNDING) {
        this.#facts.violate(`${id} is counted as having promised ${worker.reserved[name]} ${name}, and its leases have ${sum[name]}`);
      }
    }
  }

  /** A promise was made: it must be there to give. */
  #fits(id: string): void {
    const worker = this.#facts.workers.get(id);
    if (worker === undefined) return;
    const { vcpus, memory, disk } = this.#facts.overcommit;
    const { capacity, reserved } = worker;
    const bounds: Amounts = {
      vcpus: capacity.vcpus * vcpus,
      memory_mb: capacity.memory_mb * memory,
      disk_mb: capacity.disk_mb * disk,
      sandboxes: capacity.sandboxes === 0 ? Infinity : capacity.sandboxes,
    };
    for (const name of AMOUNTS) {
      if (reserved[name] > bounds[name] + ROUNDING) this.#facts.violate(`${id} has promised ${reserved[name]} of ${bounds[name]} ${name}`);
    }
  }

  /** Rows and leases tell the same. */
  #owned(id: string): void {
    const entry = this.#facts.entries.get(id);
    if (entry === undefined) return;
    const lease = this.#facts.leases.get(id);
    if (lease === undefined && !isTerminal(entry.state)) this.#facts.violate(`${id} is ${entry.state} without a lease`);
    if (lease !== undefined && (lease.epoch !== entry.epoch || lease.workerId !== entry.workerId)) {
      this.#facts.violate(`${id} is ${entry.workerId}'s by epoch ${entry.epoch}, its lease ${lease.workerId}'s by ${lease.epoch}`);
    }
  }
}
