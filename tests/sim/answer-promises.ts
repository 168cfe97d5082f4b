import type { Sandbox } from "@caisson/contract";
import type { Simulation } from "./simulation.ts";

/** What users asked and were told of a sandbox. */
export interface Answered {
  /** A create of it was answered with success. */
  acknowledged: boolean;
  destroyAsked: boolean;
  /** True time at which a destroy was answered; undefined while none was. */
  destroyedAt: number | undefined;
}

/** Users are told what is so: what was acknowledged is there, what was destroyed stays so, a key answers with one sandbox. */
export class AnswerPromises {
  readonly #simulation: Simulation;
  readonly #entries: ReadonlyMap<string, Answered>;
  readonly #keys = new Map<string, string>();

  constructor(simulation: Simulation, entries: ReadonlyMap<string, Answered>) {
    this.#simulation = simulation;
    this.#entries = entries;
  }

  /** A user who asked at `askedAt` was told of a sandbox. */
  told(sandbox: Sandbox, how: "create" | "get" | "destroy" | "list", askedAt: number): void {
    const entry = this.#entries.get(sandbox.id);
    if (entry === undefined) return this.#simulation.violate(`${how} tells of ${sandbox.id}, which was never written`);
    if (entry.destroyedAt !== undefined && askedAt > entry.destroyedAt && sandbox.state !== "destroyed") {
      this.#simulation.violate(`${how} shows ${sandbox.id} as ${sandbox.state} after its destruction was acknowledged`);
    }
    if (how === "create") {
      entry.acknowledged = true;
      if (sandbox.state === "creating" || sandbox.state === "error")
        this.#simulation.violate(`create answered with ${sandbox.id} in ${sandbox.state}`);
    }
    if (how === "destroy") {
      if (sandbox.state !== "destroyed") this.#simulation.violate(`destroy answered with ${sandbox.id} in ${sandbox.state}`);
      entry.destroyedAt ??= this.#simulation.now;
    }
  }

  /** A user was told that there is no such sandbox. */
  denied(id: string): void {
    if (this.#entries.has(id)) this.#simulation.violate(`${id} was reserved and is said not to exist`);
  }

  /** An Idempotency-Key answered with this sandbox. */
  keyed(key: string, id: string): void {
    const before = this.#keys.get(key);
    if (before !== undefined && before !== id) this.#simulation.violate(`the key ${key} answered with ${before} and with ${id}`);
    this.#keys.set(key, id);
  }
}
