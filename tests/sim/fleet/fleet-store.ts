import { CaissonError, type WorkerState } from "@caisson/contract";
import type { Store } from "@caisson/store";
import type { SimDatabase } from "../sim-database.ts";
import type { SimProcess } from "../sim-process.ts";
import { simStore, type StoreFaults } from "../sim-store.ts";
import type { Simulation } from "../simulation.ts";
import type { FleetLedger } from "./fleet-ledger.ts";
import type { SimSingletons } from "./sim-singletons.ts";

const NOTHING = { answer: [] };

/** How the database that all share misbehaves; a call fails as it does for one process, an outage for all. */
export interface SharedFaults extends StoreFaults {
  /** True time until which it does not answer. */
  downUntil: number;
  /** Wall-clock time of its machine at the beginning, plus all corrections, in ms. */
  wall: number;
}

/**
 * The database as one control plane has it: calls of several are mixed, one at a time, as transactions that lock the rows they
 * decide by are on PostgreSQL. What one appends another one hears a little later, or not at all.
 */
export function fleetStore(given: {
  readonly database: SimDatabase;
  readonly process: SimProcess;
  readonly simulation: Simulation;
  readonly faults: SharedFaults;
  readonly ledger: FleetLedger;
  /** Tells all control planes that something was appended. */
  readonly notify: () => void;
  readonly listeners: Set<() => void>;
  readonly singletons: SimSingletons;
}): Store {
  const { database, process, simulation, faults, ledger, notify, listeners, singletons } = given;
  const wrote = (): void => {
    const changes = database.takeChanges();
    ledger.wrote(changes);
    if (changes.some(({ table }) => table === "events")) notify();
  };
  const store = simStore(database.store, process, simulation, faults, wrote, (method, args) => {
    if (method === "undriven" && ledger.creating === 0) return NOTHING;
    if (method !== "sandboxesOf") return undefined;
    const { states } = args[0] as { readonly states?: readonly WorkerState[] };
    return states !== undefined && !ledger.anyWorker(states) ? NOTHING : undefined;
  });
  const events = new Proxy(store.events, {
    get: (target, key) => {
      if (key !== "onAppend") return Reflect.get(target, key) as unknown;
      return (listener: () => void) => {
        listeners.add(listener);
        return () => void listeners.delete(listener);
      };
    },
  });
  const singleton: Store["singleton"] = (name, run, signal) => singletons.run(process, name, run, signal);
  const parts: Readonly<Record<string, unknown>> = { events, singleton };
  return new Proxy(store, { get: (target, key) => parts[String(key)] ?? (Reflect.get(target, key) as unknown) });
}

/** What a call fails with while the database is down. */
export function databaseDown(): CaissonError {
  return new CaissonError("database_unavailable", "simulated: the database is down", { retryAfter: 1 });
}
