import type { SandboxState } from "@caisson/contract";
import type { Answered } from "../../answer-promises.ts";
import type { SimDatabase } from "../../sim-database.ts";
import type { SimMachine } from "../../sim-host.ts";
import type { Simulation } from "../../simulation.ts";
import type { Lease, WorkerRow } from "./fleet-rows.ts";

/** What is known of a sandbox from outside: what was written, asked for, and told to users. */
export interface Entry extends Answered {
  readonly id: string;
  workerId: string;
  version: number;
  epoch: number;
  state: SandboxState;
  /** True time at which its present state began. */
  since: number;
  /** Wall-clock times of the database between which its time to live may end. */
  earliestEnd: number;
  latestEnd: number;
}

/** What is known of a worker. */
export interface WorkerEntry extends WorkerRow {
  /** True time until which it was unreachable or removed; undefined when it never was. */
  readonly goneUntil: number | undefined;
}

/** How often each amount may be promised; sandboxes never more than once. */
export interface Overcommit {
  readonly vcpus: number;
  readonly memory: number;
  readonly disk: number;
}

/** What a fleet is, and how it is set up. */
export interface FleetSetup {
  readonly simulation: Simulation;
  readonly database: SimDatabase;
  readonly machines: ReadonlyMap<string, SimMachine>;
  readonly overcommit: Overcommit;
  /** Most live sandboxes; 0 for no bound. */
  readonly maxLive: number;
  readonly unreachableAfterMs: number;
}

/** What all promises are judged by: the rows as they were last written, and what is there. */
export interface FleetFacts extends FleetSetup {
  readonly entries: Map<string, Entry>;
  readonly leases: Map<string, Lease>;
  readonly workers: Map<string, WorkerEntry>;
  /** Workers that an admin wants to be rid of with all that they have. */
  readonly forced: Set<string>;
  /** True time since which a control plane and the database have been there; undefined while they are not. */
  aliveSince: number | undefined;
  /** A promise was broken. */
  violate(message: string): void;
}
