import type { RowChange } from "../../sim-database.ts";
import type { FleetFacts } from "./fleet-facts.ts";

const STATE_EVENTS: ReadonlySet<string> = new Set(
  ["created", "running", "pausing", "paused", "resuming", "unhealthy", "missing", "error", "stopped", "expired", "destroyed"].map(
    (state) => `sandbox.${state}`,
  ),
);

/** Each change of state has its one event, in its transaction, and readers get them in order. */
export class EventPromises {
  readonly #facts: FleetFacts;
  /** Changes of state in the transaction under way that an event has to tell, in order. */
  #untold: { readonly id: string; readonly type: string }[] = [];
  /** Events of sandboxes in the order in which they were written. */
  readonly #told = new Map<string, string[]>();

  constructor(facts: FleetFacts) {
    this.#facts = facts;
  }

  /** A sandbox came to another state: an event has to tell it. */
  changed(id: string, type: string): void {
    this.#untold.push({ id, type });
  }

  /** Each change is told once, by the transaction that makes it. */
  written({ after }: RowChange): void {
    const type = String(after?.["type"]);
    if (!STATE_EVENTS.has(type)) return;
    const id = String(after?.["resource_id"]);
    const at = this.#untold.findIndex((one) => one.id === id && one.type === type);
    if (at < 0) this.#facts.violate(`an event tells ${type} of ${id}, which did not happen`);
    this.#untold.splice(at, 1);
    const list = this.#told.get(id) ?? [];
    list.push(type);
    this.#told.set(id, list);
  }

  /** The transaction is over: what it changed must be told. */
  over(): void {
    for (const { id, type } of this.#untold) this.#facts.violate(`no event ${type} tells of ${id}`);
    this.#untold = [];
  }

  /** Events as readers get them are in the order of what happened. */
  check(read: readonly { readonly seq: number; readonly type: string; readonly resource_id: string }[]): void {
    let seq = 0;
    const seen = new Map<string, string[]>();
    for (const event of read) {
      if (event.seq <= seq) this.#facts.violate(`event ${event.seq} came after ${seq}`);
      seq = event.seq;
      if (!STATE_EVENTS.has(event.type)) continue;
      const list = seen.get(event.resource_id) ?? [];
      list.push(event.type);
      seen.set(event.resource_id, list);
    }
    for (const [id, expected] of this.#told) {
      const got = seen.get(id) ?? [];
      if (got.join() !== expected.join()) this.#facts.violate(`${id} went through ${expected.join()}, its events tell ${got.join()}`);
    }
  }
}
