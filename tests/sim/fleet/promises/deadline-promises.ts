import { isTerminal } from "@caisson/contract";
import { DEADLINES_MS } from "../deadlines.ts";
import type { Entry, FleetFacts } from "./fleet-facts.ts";

/** No creation and no time to live outlasts its deadline while a control plane and the database are there. */
export class DeadlinePromises {
  readonly #facts: FleetFacts;

  constructor(facts: FleetFacts) {
    this.#facts = facts;
  }

  /** A user asks for another time to live: from now on both the old and the new end are possible. */
  extending(id: string, ttlMs: number): void {
    const entry = this.#facts.entries.get(id);
    if (entry !== undefined) entry.earliestEnd = Math.min(entry.earliestEnd, this.#facts.database.now() + ttlMs);
  }

  /** What nobody writes and must be all the same: nothing is late. */
  inspect(): void {
    for (const entry of this.#facts.entries.values()) this.#late(entry);
  }

  #late(entry: Entry): void {
    if (this.#facts.aliveSince === undefined || isTerminal(entry.state)) return;
    const { now } = this.#facts.simulation;
    const since = Math.max(entry.since, this.#facts.aliveSince);
    if (entry.state === "creating" && now - since > DEADLINES_MS.creation) {
      this.#facts.violate(`${entry.id} has been creating for ${now - entry.since} ms`);
    }
    const over = this.#facts.database.now() - entry.latestEnd;
    if (over > DEADLINES_MS.late && now - this.#facts.aliveSince > DEADLINES_MS.late)
      this.#facts.violate(`${entry.id} outlived its time by ${over} ms`);
  }
}
