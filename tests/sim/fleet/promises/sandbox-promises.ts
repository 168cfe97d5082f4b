import { isTerminal, type SandboxState } from "@caisson/contract";
import type { RowChange } from "../../sim-database.ts";
import { DEADLINES_MS } from "../deadlines.ts";
import type { EventPromises } from "./event-promises.ts";
import type { Entry, FleetFacts } from "./fleet-facts.ts";
import { sandboxRow, type SandboxRow } from "./fleet-rows.ts";
import { checkPlacement } from "./placement-promise.ts";

/** Epochs and versions only grow, ended stays ended, nothing ends or moves without a cause. */
export class SandboxPromises {
  readonly #facts: FleetFacts;
  readonly #events: EventPromises;
  /** True time at which a heartbeat of each worker was last answered. */
  readonly #heard = new Map<string, number>();
  #live = 0;
  /** How many sandboxes are being created. */
  creating = 0;
  /** How many creations went on at another worker. */
  moves = 0;

  constructor(facts: FleetFacts, events: EventPromises) {
    this.#facts = facts;
    this.#events = events;
  }

  /** A heartbeat was answered that had left then: one that comes after a later one tells nothing new. */
  heard(workerId: string, leftAt: number): void {
    this.#heard.set(workerId, Math.max(leftAt, this.#heard.get(workerId) ?? leftAt));
  }

  /** A row was written. */
  written({ before, after }: RowChange): void {
    if (after === undefined) return this.#facts.violate(`${String(before?.["id"])} is gone from the store`);
    const row = sandboxRow(after);
    if (before === undefined) return this.#reserved(row);
    const entry = this.#facts.entries.get(row.id);
    if (entry === undefined) return this.#facts.violate(`${row.id} was written and never reserved`);
    const was = entry.state;
    if (row.version !== entry.version && row.version !== entry.version + 1) {
      this.#facts.violate(`${row.id} went from version ${entry.version} to ${row.version}`);
    }
    const same = row.state === was && row.epoch === entry.epoch && row.workerId === entry.workerId && row.expiresAt === entry.latestEnd;
    if (row.version === entry.version && !same) this.#facts.violate(`${row.id} changed and kept its version ${row.version}`);
    if (row.epoch < entry.epoch) this.#facts.violate(`${row.id} went back from epoch ${entry.epoch} to ${row.epoch}`);
    if (row.workerId !== entry.workerId) this.#moved(entry, row);
    if (isTerminal(was) && (row.state !== "destroyed" || was === "destroyed") && row.version !== entry.version) {
      this.#facts.violate(`${row.id} was ${was} and became ${row.state}`);
    }
    if (was !== row.state) {
      this.#events.changed(row.id, `sandbox.${row.state}`);
      entry.since = this.#facts.simulation.now;
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

  /** In the end the table has what was learnt of each write. */
  check(): void {
    const rows = new Map(
      this.#facts.database.rows("select id, version, epoch, state from sandboxes").map((row) => [String(row["id"]), row]),
    );
    for (const entry of this.#facts.entries.values()) {
      const row = rows.get(entry.id);
      if (row?.["version"] !== entry.version || row["state"] !== entry.state || row["epoch"] !== entry.epoch) {
        this.#facts.violate(`${entry.id} was changed by nobody`);
      }
    }
  }

  #reserved(row: SandboxRow): void {
    const { now } = this.#facts.simulation;
    if (this.#facts.entries.has(row.id)) this.#facts.violate(`${row.id} was reserved twice`);
    this.#facts.entries.set(row.id, {
      ...row,
      since: now,
      earliestEnd: row.expiresAt,
      latestEnd: row.expiresAt,
      acknowledged: false,
      destroyAsked: false,
      destroyedAt: undefined,
    });
    this.#events.changed(row.id, "sandbox.created");
    this.#live += 1;
    this.creating += 1;
    if (this.#facts.maxLive > 0 && this.#live > this.#facts.maxLive)
      this.#facts.violate(`${this.#live} sandboxes live, ${this.#facts.maxLive} allowed`);
    checkPlacement(this.#facts, row);
  }

  /** A creation went elsewhere: only when the first worker has nothing of it, and with a higher epoch. */
  #moved(entry: Entry, row: SandboxRow): void {
    if (entry.state !== "creating") this.#facts.violate(`${row.id} was moved while it was ${entry.state}`);
    if (row.epoch <= entry.epoch) this.#facts.violate(`${row.id} was moved and kept its epoch ${row.epoch}`);
    const first = this.#facts.machines.get(entry.workerId);
    if (first?.holds(row.id) === true && !first.unreliable) this.#facts.violate(`${row.id} was moved while ${entry.workerId} still had it`);
    this.moves += 1;
    checkPlacement(this.#facts, row);
  }

  /** Nothing ends without a cause: else what was acknowledged would be lost. */
  #justified(entry: Entry, was: SandboxState, workerId: string): void {
    const machine = this.#facts.machines.get(workerId);
    if (entry.state === "destroyed" && !entry.destroyAsked && !this.#facts.forced.has(workerId))
      this.#facts.violate(`${entry.id} was destroyed and nobody asked for it`);
    if (entry.state === "error" && was !== "creating") this.#facts.violate(`${entry.id} fell from ${was} to error`);
    if (entry.state === "stopped" && machine?.bereft.has(entry.id) !== true && machine?.unreliable !== true) {
      this.#facts.violate(`${entry.id} was found gone though its box never went`);
    }
    const silence = this.#facts.simulation.now - (this.#heard.get(workerId) ?? -Infinity);
    if (entry.state === "missing" && silence < this.#facts.unreachableAfterMs - DEADLINES_MS.clock) {
      this.#facts.violate(`${entry.id} is missing though ${workerId} was heard ${silence} ms ago`);
    }
    const now = this.#facts.database.now();
    if (entry.state === "expired" && now < entry.earliestEnd - DEADLINES_MS.clock) {
      this.#facts.violate(`${entry.id} expired ${entry.earliestEnd - now} ms early`);
    }
  }
}
