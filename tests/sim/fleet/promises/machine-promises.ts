import { isTerminal } from "@caisson/contract";
import type { SimMachine } from "../../sim-host.ts";
import { DEADLINES_MS } from "../deadlines.ts";
import type { Entry, FleetFacts } from "./fleet-facts.ts";

/** A sandbox is on one machine at a time; and in the end machines have what is shown, and nothing else. */
export class MachinePromises {
  readonly #facts: FleetFacts;

  constructor(facts: FleetFacts) {
    this.#facts = facts;
  }

  /** A box came up on a machine. */
  booted(machine: SimMachine, id: string, epoch: number): void {
    for (const other of this.#facts.machines.values()) {
      const box = other.boxes.get(id);
      if (other !== machine && box !== undefined && box.ghost !== true)
        this.#facts.violate(`${id} runs on ${other.workerId} and on ${machine.workerId}`);
    }
    const entry = this.#facts.entries.get(id);
    if (entry === undefined) return this.#facts.violate(`a box of ${id} runs, which was never reserved`);
    if (epoch > entry.epoch) this.#facts.violate(`a box of ${id} runs with epoch ${epoch}, and its row has ${entry.epoch}`);
    if (epoch === entry.epoch && entry.workerId !== machine.workerId) {
      this.#facts.violate(`a box of ${id} runs on ${machine.workerId}, and epoch ${epoch} is the right of ${entry.workerId}`);
    }
  }

  /** What must hold when nothing has happened for long enough; the first thing that does not. */
  unrest(): string | undefined {
    for (const machine of this.#facts.machines.values()) {
      const forgotten = machine.liar || this.#facts.workers.get(machine.workerId)?.state === "removed";
      for (const [id, box] of forgotten ? [] : machine.boxes) {
        const entry = this.#facts.entries.get(id);
        if (entry === undefined || isTerminal(entry.state) || entry.workerId !== machine.workerId || entry.epoch !== box.epoch) {
          return `a box of ${id} is left on ${machine.workerId} though it is ${entry?.state ?? "unknown"}`;
        }
      }
    }
    for (const [id, lease] of this.#facts.leases) {
      const entry = this.#facts.entries.get(id);
      if (entry === undefined || isTerminal(entry.state)) return `${id} is ${entry?.state} and ${lease.workerId} still has a lease of it`;
    }
    return this.untrue();
  }

  /** A state of a worker or a sandbox that is shown and is not so; of those that are `known`, which creations, and those whose answer came late, are not yet. */
  untrue(which: "all" | "known" = "all"): string | undefined {
    for (const [id, { state }] of this.#facts.workers) {
      if (state === "unreachable" || state === "pending") return `${id} is ${state} though it says that it is there`;
    }
    for (const entry of this.#facts.entries.values()) {
      if (isTerminal(entry.state) || (which === "known" && this.#isNew(entry))) continue;
      const box = this.#facts.machines.get(entry.workerId)?.boxes.get(entry.id);
      if (entry.state !== "running") return `${entry.id} is ${entry.state}, its box on ${entry.workerId} ${box?.state ?? "gone"}`;
      if (box?.state !== "running" || box.epoch !== entry.epoch) return `${entry.id} is running and its box ${box?.state ?? "gone"}`;
    }
    return undefined;
  }

  #isNew({ state, since }: Entry): boolean {
    return state === "creating" || (state === "running" && this.#facts.simulation.now - since < DEADLINES_MS.found);
  }
}
