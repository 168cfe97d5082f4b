import type { Sandbox } from "@caisson/contract";
import type { FleetFacts } from "./fleet-facts.ts";

/** Users are told what is so: what was acknowledged is there, what was destroyed stays so, a key answers with one sandbox. */
export class AnswerPromises {
  readonly #facts: FleetFacts;
  readonly #keys = new Map<string, string>();

  constructor(facts: FleetFacts) {
    this.#facts = facts;
  }

  /** A user who asked at `askedAt` was told of a sandbox. */
  told(sandbox: Sandbox, how: "create" | "get" | "destroy" | "list", askedAt: number): void {
    const entry = this.#facts.entries.get(sandbox.id);
    if (entry === undefined) return this.#facts.violate(`${how} tells of ${sandbox.id}, which was never written`);
    if (entry.destroyedAt !== undefined && askedAt > entry.destroyedAt && sandbox.state !== "destroyed") {
      this.#facts.violate(`${how} shows ${sandbox.id} as ${sandbox.state} after its destruction was acknowledged`);
    }
    if (how === "create") {
      entry.acknowledged = true;
      if (sandbox.state === "creating" || sandbox.state === "error")
        this.#facts.violate(`create answered with ${sandbox.id} in ${sandbox.state}`);
    }
    if (how === "destroy") {
      if (sandbox.state !== "destroyed") this.#facts.violate(`destroy answered with ${sandbox.id} in ${sandbox.state}`);
      entry.destroyedAt ??= this.#facts.simulation.now;
    }
  }

  /** A user was told that there is no such sandbox. */
  denied(id: string): void {
    if (this.#facts.entries.has(id)) this.#facts.violate(`${id} was reserved and is said not to exist`);
  }

  /** An Idempotency-Key answered with this sandbox. */
  keyed(key: string, id: string): void {
    const before = this.#keys.get(key);
    if (before !== undefined && before !== id) this.#facts.violate(`the key ${key} answered with ${before} and with ${id}`);
    this.#keys.set(key, id);
  }
}
