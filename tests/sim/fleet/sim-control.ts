import type { SandboxHost } from "@caisson/contract";
import {
  ConnectedHosts,
  Orchestrator,
  type OrchestratorOptions,
  type PlacementSettings,
  type WorkerOperations,
  type WorkerSession,
} from "@caisson/control";
import type { SeededRandom } from "@caisson/testkit";
import type { SimDatabase } from "../sim-database.ts";
import { guestOf } from "../sim-guest.ts";
import { SimProcess, type WallTime } from "../sim-process.ts";
import type { Simulation } from "../simulation.ts";
import { Connection } from "./connection.ts";
import type { FleetLedger } from "./fleet-ledger.ts";
import type { Overcommit } from "./promises/fleet-facts.ts";
import type { FleetPlant } from "./fleet-plants.ts";
import { fleetStore, type SharedFaults } from "./fleet-store.ts";
import { LinkedHost } from "./linked-host.ts";
import type { SimIdentities } from "./sim-identities.ts";
import type { SimSingletons } from "./sim-singletons.ts";
import type { Dialled, SimWorker } from "./sim-worker.ts";
import type { Wire } from "./wire.ts";

/** What all control planes of an installation are set to. */
export interface FleetSettings {
  readonly overcommit: Overcommit;
  readonly strategy: PlacementSettings["strategy"];
  readonly maxLive: number;
  readonly lateAfterMs: number;
  readonly unreachableAfterMs: number;
}

/** What one control plane of a world needs. */
export interface SimControlOptions {
  readonly name: string;
  readonly simulation: Simulation;
  readonly random: SeededRandom;
  readonly database: SimDatabase;
  readonly faults: SharedFaults;
  readonly ledger: FleetLedger;
  readonly identities: SimIdentities;
  readonly singletons: SimSingletons;
  readonly settings: FleetSettings;
  readonly plant: FleetPlant;
  /** Tells all control planes that something was appended. */
  readonly notify: () => void;
}

/** The parts of one life of a control plane that users and admins reach. */
interface Parts {
  readonly orchestrator: Orchestrator;
  readonly workers: WorkerOperations;
}

/** One control plane: it is started, killed and suspended, and workers dial it. */
export class SimControl implements Dialled {
  readonly name: string;
  /** What lies between it and each worker. */
  readonly wires = new Map<string, Wire>();
  /** What it takes for the database's time. */
  readonly wall: WallTime = { offset: 0 };
  readonly #options: SimControlOptions;
  readonly #pending = new Set<() => void>();
  readonly #listeners = new Set<() => void>();
  #lives = 0;
  #process: SimProcess | undefined;
  #parts: Parts | undefined;
  #hosts = new ConnectedHosts();

  constructor(options: SimControlOptions) {
    this.#options = options;
    this.name = options.name;
  }

  get process(): SimProcess | undefined {
    return this.#process;
  }

  /** Starts it on what the database has. */
  boot(): void {
    const { simulation, database, identities, random, settings, plant } = this.#options;
    this.#lives += 1;
    // The database's time, as well as it can be measured.
    this.wall.offset = database.now() - simulation.now + simulation.random.int(-50, 50);
    const process = new SimProcess(simulation, this.wall);
    this.#process = process;
    this.#listeners.clear();
    this.#hosts = new ConnectedHosts();
    const plain = fleetStore({ ...this.#options, process, listeners: this.#listeners });
    const orchestrator = new Orchestrator({
      clock: process.clock,
      random,
      store: plant.store?.(plain) ?? plain,
      hosts: this.#hosts,
      defaults: { image: "host", ttlMs: 1_800_000, maxTtlMs: 86_400_000, memoryMb: 32, pids: 64, maxSandboxes: settings.maxLive },
      logger: this.#logger(),
      fleet: {
        lateAfterMs: settings.lateAfterMs,
        unreachableAfterMs: settings.unreachableAfterMs,
        placement: { strategy: settings.strategy, preferLocal: false, overcommit: settings.overcommit },
      },
      controlPlane: { id: `${this.name}-${this.#lives}`, url: `http://${this.name}`, build: "0" },
      identities: identities.of((work) => process.call(simulation.delay(2, 40, 0.05), 0, async () => work())),
      guestOf,
      ...(plant.transition === undefined ? {} : { transition: plant.transition }),
    });
    this.#parts = { orchestrator, workers: orchestrator.workers };
    simulation.note(() => `world  control plane ${this.name} starts`);
    void orchestrator.start();
  }

  /** Kills it. */
  crash(): void {
    const process = this.#process;
    if (process === undefined) return;
    this.#options.simulation.note(() => `world  control plane ${this.name} is killed`);
    this.#process = undefined;
    this.#parts = undefined;
    process.crash();
    this.#options.singletons.killed(process);
    const lost = [...this.#pending];
    this.#pending.clear();
    for (const call of lost) call();
  }

  /** Asks it for something; `lost` is called instead of `answered` when it dies first. */
  ask<T>(call: (parts: Parts) => Promise<T>, answered: (result: PromiseSettledResult<T>) => void, lost: () => void): void {
    const parts = this.#parts;
    const process = this.#process;
    if (parts === undefined || process === undefined) return lost();
    this.#pending.add(lost);
    const settle = (result: PromiseSettledResult<T>): void => {
      if (this.#pending.delete(lost)) answered(result);
    };
    process.deliver(() => {
      call(parts).then(
        (value) => settle({ status: "fulfilled", value }),
        (reason: unknown) => settle({ status: "rejected", reason }),
      );
    });
  }

  /** Something was appended by somebody. */
  notified(): void {
    const { simulation } = this.#options;
    if (this.#listeners.size === 0 || simulation.random.chance(0.05)) return;
    const process = this.#process;
    simulation.after(simulation.random.int(0, 20), () => process?.deliver(() => this.#listeners.forEach((listener) => listener())));
  }

  dial(worker: SimWorker): Promise<{ readonly connection: Connection; readonly session: () => WorkerSession } | "refused" | undefined> {
    const { simulation, identities } = this.#options;
    const wire = this.wires.get(worker.id);
    const life = worker.process;
    return new Promise((resolve) => {
      const answer = (made: Awaited<ReturnType<Dialled["dial"]>>): void => life?.deliver(() => resolve(made));
      simulation.after(simulation.delay(10, 2_000, 0.1), () => {
        const control = this.#process;
        const parts = this.#parts;
        if (wire?.isWhole !== true || control === undefined || parts === undefined || control.frozen) return answer(undefined);
        if (life?.alive !== true) return;
        let identity;
        try {
          identity = identities.verify(worker.id);
        } catch {
          return answer("refused");
        }
        const connection = new Connection(simulation, wire, control, life);
        const plain: SandboxHost = new LinkedHost(worker, connection, simulation, wire);
        const host = this.#options.plant.host?.(plain) ?? plain;
        const open = parts.orchestrator.sessions.open(identity, host);
        const session = this.#options.plant.session?.(open) ?? open;
        simulation.note(() => `link   ${wire.name} is made`);
        session.ended.addEventListener("abort", () =>
          connection.close("control", String((session.ended.reason as Error | undefined)?.message)),
        );
        connection.onClosed("control", () => {
          if (control.alive) session.close();
        });
        answer({ connection, session: () => session });
      });
    });
  }

  #logger(): OrchestratorOptions["logger"] {
    const line = (fields: object, message: string): void => {
      const { err, ...rest } = fields as { err?: Error };
      this.#options.simulation.note(
        () => `log ${this.name}  ${message} ${JSON.stringify(rest)}${err === undefined ? "" : ` ${err.message}`}`,
      );
    };
    return { debug: line, info: line, warn: line, error: line };
  }
}
