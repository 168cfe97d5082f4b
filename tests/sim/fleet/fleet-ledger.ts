import type { Sandbox, WorkerState } from "@caisson/contract";
import { AnswerPromises } from "../answer-promises.ts";
import type { RowChange } from "../sim-database.ts";
import type { SimMachine } from "../sim-host.ts";
import { DeadlinePromises } from "./promises/deadline-promises.ts";
import { EventPromises } from "./promises/event-promises.ts";
import type { FleetFacts, FleetSetup } from "./promises/fleet-facts.ts";
import { LeasePromises } from "./promises/lease-promises.ts";
import { MachinePromises } from "./promises/machine-promises.ts";
import { SandboxPromises } from "./promises/sandbox-promises.ts";

/** Watches every row that is written and every answer that is given; each kind of promise says itself when it was broken. */
export class FleetLedger {
  readonly #facts: FleetFacts;
  readonly #sandboxes: SandboxPromises;
  readonly #leases: LeasePromises;
  readonly #events: EventPromises;
  readonly #answers: AnswerPromises;
  readonly #machines: MachinePromises;
  readonly #deadlines: DeadlinePromises;

  constructor(setup: FleetSetup) {
    this.#facts = {
      ...setup,
      entries: new Map(),
      leases: new Map(),
      workers: new Map(),
      forced: new Set(),
      aliveSince: undefined,
      violate: (message) => setup.simulation.violate(message),
    };
    this.#events = new EventPromises(this.#facts);
    this.#sandboxes = new SandboxPromises(this.#facts, this.#events);
    this.#leases = new LeasePromises(this.#facts);
    this.#answers = new AnswerPromises(setup.simulation, this.#facts.entries);
    this.#machines = new MachinePromises(this.#facts);
    this.#deadlines = new DeadlinePromises(this.#facts);
  }

  get entries(): FleetFacts["entries"] {
    return this.#facts.entries;
  }

  get workers(): FleetFacts["workers"] {
    return this.#facts.workers;
  }

  get forced(): FleetFacts["forced"] {
    return this.#facts.forced;
  }

  /** How many sandboxes are being created. */
  get creating(): number {
    return this.#sandboxes.creating;
  }

  /** How many creations went on at another worker. */
  get moves(): number {
    return this.#sandboxes.moves;
  }

  /** Whether a worker is in one of these states. */
  anyWorker(states: readonly WorkerState[]): boolean {
    for (const { state } of this.#facts.workers.values()) if (states.includes(state)) return true;
    return false;
  }

  /** Takes in what one call wrote; nothing when it was rolled back. */
  wrote(changes: readonly RowChange[]): void {
    if (changes.length === 0) return;
    for (const change of changes) {
      switch (change.table) {
        case "sandboxes":
          this.#sandboxes.written(change);
          break;
        case "leases":
          this.#leases.leaseWritten(change);
          break;
        case "workers":
          this.#leases.workerWritten(change);
          break;
        case "events":
          this.#events.written(change);
          break;
        default:
          change.table satisfies never;
      }
    }
    this.#events.over();
    this.#leases.over(changes);
  }

  /** Somebody is there to keep deadlines, or nobody is any more. */
  alive(alive: boolean): void {
    this.#facts.aliveSince = alive ? (this.#facts.aliveSince ?? this.#facts.simulation.now) : undefined;
  }

  /** A heartbeat was answered that had left then. */
  heard(workerId: string, leftAt: number): void {
    this.#sandboxes.heard(workerId, leftAt);
  }

  /** A box came up on a machine. */
  booted(machine: SimMachine, id: string, epoch: number): void {
    this.#machines.booted(machine, id, epoch);
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

  /** A user asks for another time to live. */
  extending(id: string, ttlMs: number): void {
    this.#deadlines.extending(id, ttlMs);
  }

  /** What nobody writes and must be all the same: nothing is late. */
  inspect(): void {
    this.#deadlines.inspect();
  }

  /** What must hold when nothing has happened for long enough; the first thing that does not. */
  unrest(): string | undefined {
    return this.#machines.unrest();
  }

  /** A state of a worker or a sandbox that is shown and is not so; of those that are `known`, which creations are not yet. */
  untrue(which: "all" | "known" = "all"): string | undefined {
    return this.#machines.untrue(which);
  }

  /** Compares what was learnt of each write with what the tables say in the end, and what readers get of events. */
  check(read: Parameters<EventPromises["check"]>[0]): void {
    this.#sandboxes.check();
    this.#leases.check();
    this.#events.check(read);
  }
}
