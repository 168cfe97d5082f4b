import type { Amounts, Clock } from "@caisson/contract";
import type { Store, WorkerRecord } from "@caisson/store";
import type { Hosts } from "../hosts.ts";
import type { Candidate } from "../placement/place.ts";
import { SingleFlight } from "../single-flight.ts";

/** How long rows are believed, in ms. */
const FRESH_MS = 1_000;

/** What a directory needs. */
export interface WorkerDirectoryOptions {
  readonly clock: Clock;
  readonly store: Store;
  readonly hosts: Hosts;
  /** Silence after which a worker is late, in ms. */
  readonly lateAfterMs: number;
}

/**
 * The rows of all workers, read once a second at most, with what this control plane promised since. It may be wrong by what
 * others did meanwhile: the reservation itself is guarded in the database.
 */
export class WorkerDirectory {
  readonly #options: WorkerDirectoryOptions;
  readonly #reading = new SingleFlight<readonly WorkerRecord[]>();
  readonly #expected = new Set<Promise<void>>();
  #rows: readonly WorkerRecord[] | undefined;
  #readAt = 0;
  /** Grows with everything that makes rows read before it old. */
  #generation = 0;

  constructor(options: WorkerDirectoryOptions) {
    this.#options = options;
  }

  /**
   * Chooses among all workers that are not removed, by id, as they are at the moment of the choice: what `choose` promises of
   * one counts for the next who asks, though both waited for the same rows.
   */
  async choose<T>(choose: (candidates: readonly Candidate[]) => T): Promise<T> {
    const { clock, hosts } = this.#options;
    const read = await this.#all();
    const rows = this.#rows ?? read;
    const now = clock.now();
    return choose(rows.map((worker) => ({ worker, linked: hosts.get(worker.id) !== undefined, late: this.late(worker, now) })));
  }

  /** One worker; undefined when it is removed or unknown. */
  async find(id: string): Promise<WorkerRecord | undefined> {
    return (await this.#all()).find((worker) => worker.id === id);
  }

  /** Whether a worker counts as unreachable or removed at this moment. One of which there is no row yet is neither. */
  async isGone(id: string): Promise<boolean> {
    const state = (await this.#options.store.workers.get(id))?.state;
    return state === "unreachable" || state === "removed";
  }

  /** Whether the heartbeat of a worker is overdue at this moment. */
  async isLate(id: string): Promise<boolean> {
    const worker = await this.#options.store.workers.get(id);
    return worker !== undefined && (worker.state === "unreachable" || this.late(worker));
  }

  /** Whether the heartbeat of a worker, as its row was read, is overdue. */
  late({ lastHeartbeatAt, state }: WorkerRecord, now: number = this.#options.clock.now()): boolean {
    if (lastHeartbeatAt === null || state === "removed") return false;
    return now - lastHeartbeatAt > this.#options.lateAfterMs;
  }

  /** A worker will be heard soon: those who find none wait for it. */
  expect(heard: Promise<void>): void {
    this.#expected.add(heard);
    void heard.finally(() => this.#expected.delete(heard));
  }

  /** Waits for workers that will be heard soon, for `ms` at most; whether there was any to wait for. */
  async arrivals(ms: number): Promise<boolean> {
    if (this.#expected.size === 0) return false;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = this.#options.clock.schedule(ms, resolve);
    await Promise.race([promise, ...this.#expected]);
    timer.cancel();
    this.forget();
    return true;
  }

  /** Something is promised: counted until the rows are read again. */
  promise(id: string, amounts: Amounts): void {
    this.#reserve(id, amounts, 1);
  }

  /** What was promised comes to nothing. */
  takeBack(id: string, amounts: Amounts): void {
    this.#reserve(id, amounts, -1);
  }

  #reserve(id: string, amounts: Amounts, times: 1 | -1): void {
    const at = this.#rows?.findIndex((row) => row.id === id) ?? -1;
    const row = this.#rows?.[at];
    if (row !== undefined) this.#rows = this.#rows?.with(at, { ...row, reserved: sum(row.reserved, amounts, times) });
  }

  /** Forgets rows that were read more than `ms` ago; whether it did. */
  refresh(ms: number): boolean {
    if (this.#rows !== undefined && this.#options.clock.monotonic() - this.#readAt <= ms) return false;
    this.forget();
    return true;
  }

  /** The rows have changed: they are read again when somebody asks. */
  forget(): void {
    this.#rows = undefined;
    this.#generation += 1;
  }

  async #all(): Promise<readonly WorkerRecord[]> {
    const { clock, store } = this.#options;
    if (this.#rows !== undefined && clock.monotonic() - this.#readAt < FRESH_MS) return this.#rows;
    const generation = this.#generation;
    return this.#reading.run(String(generation), async () => {
      const begun = clock.monotonic();
      const rows = await store.workers.list();
      if (generation === this.#generation) {
        this.#rows = rows;
        this.#readAt = begun;
      }
      return rows;
    });
  }
}

function sum(a: Amounts, b: Amounts, times: 1 | -1): Amounts {
  return {
    vcpus: a.vcpus + times * b.vcpus,
    memory_mb: a.memory_mb + times * b.memory_mb,
    disk_mb: a.disk_mb + times * b.disk_mb,
    sandboxes: a.sandboxes + times * b.sandboxes,
  };
}
