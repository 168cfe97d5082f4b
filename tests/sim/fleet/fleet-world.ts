import type { Amounts, CreateSandbox } from "@caisson/contract";
import type { Orchestrator, WorkerOperations } from "@caisson/control";
import { SeededRandom } from "@caisson/testkit";
import { violationOf } from "../broken-world.ts";
import { SimDatabase } from "../sim-database.ts";
import { SimMachine } from "../sim-host.ts";
import { Simulation, type Violation } from "../simulation.ts";
import { Users } from "../users.ts";
import { Admins } from "./admins.ts";
import { DEADLINES_MS } from "./deadlines.ts";
import { FleetLedger } from "./fleet-ledger.ts";
import { databaseDown, type SharedFaults } from "./fleet-store.ts";
import type { FleetPlant } from "./fleet-plants.ts";
import type { Overcommit } from "./promises/fleet-facts.ts";
import { SimControl } from "./sim-control.ts";
import { SimIdentities } from "./sim-identities.ts";
import { SimSingletons } from "./sim-singletons.ts";
import { SimWorker } from "./sim-worker.ts";
import { Trouble } from "./trouble.ts";
import { Wire, type Lossy } from "./wire.ts";

const START = Date.UTC(2030, 0, 1);

/** What a run showed. */
export interface FleetOutcome {
  readonly violation: Violation | undefined;
  readonly trace: readonly string[];
  /** How much happened, for a report and to see that a replay is one. */
  readonly sandboxes: number;
  /** How many of them a user was told to run. */
  readonly acknowledged: number;
  readonly controls: number;
  readonly workers: number;
  readonly crashes: number;
  /** How many creations went on at another worker. */
  readonly moves: number;
  /** Simulated time, in ms. */
  readonly lasted: number;
  /** Time from the last fault to the moment when every state that was shown was true, in ms. */
  readonly trueAfter: number;
}

/** Plays one seed. */
export async function playFleet(
  seed: number,
  options: { readonly plant?: FleetPlant; readonly recording?: boolean } = {},
): Promise<FleetOutcome> {
  const database = await SimDatabase.shared();
  database.clear();
  const world = new FleetWorld(seed, database, options.plant ?? {}, options.recording === true);
  const violation = await violationOf(world, options);
  const entries = [...world.ledger.entries.values()];
  return {
    violation,
    trace: world.simulation.trace,
    sandboxes: entries.length,
    acknowledged: entries.filter((entry) => entry.acknowledged).length,
    controls: world.controls.length,
    workers: world.workers.length,
    crashes: world.trouble.crashes,
    moves: world.ledger.moves,
    lasted: world.simulation.now,
    trueAfter: world.trueAfter,
  };
}

/** Several control planes over one database, several workers, what lies between them, and those who use them. */
class FleetWorld {
  readonly simulation: Simulation;
  readonly ledger: FleetLedger;
  readonly controls: readonly SimControl[];
  readonly workers: readonly SimWorker[];
  readonly #random: SeededRandom;
  readonly #database: SimDatabase;
  readonly #faults: SharedFaults;
  readonly #identities: SimIdentities;
  readonly #users: Users;
  readonly #admins: Admins;
  readonly #length: number;
  readonly #ignored: boolean;
  readonly trouble: Trouble;
  /** Time from the moment when all was healed to the one when every state that is shown was true, in ms. */
  trueAfter = 0;

  constructor(seed: number, database: SimDatabase, plant: FleetPlant, recording: boolean) {
    this.simulation = new Simulation(seed, recording);
    const { simulation } = this;
    const { random } = simulation;
    this.#random = new SeededRandom(random.next());
    this.#ignored = plant.ignored === true;
    this.#database = database;
    database.plant(plant.triggers ?? {});
    database.now = () => Math.round(this.#faults.wall + simulation.now);
    const machines = new Map<string, SimMachine>();
    for (const id of ["a", "b", "c", "d", "e"].slice(0, random.pick([1, 2, 2, 3, 3, 4, 5]))) {
      machines.set(id, new SimMachine(id, simulation, (machine, sandboxId, epoch) => this.ledger.booted(machine, sandboxId, epoch)));
    }
    const overcommit: Overcommit = { vcpus: random.pick([1, 4]), memory: random.pick([1, 1.5]), disk: 1 };
    const maxLive = random.chance(0.15) ? random.int(2, 6) : 0;
    const unreachableAfterMs = random.pick([45_000, 45_000, 90_000]);
    this.ledger = new FleetLedger({ simulation, database, machines, overcommit, maxLive, unreachableAfterMs });
    this.#faults = {
      before: 0,
      after: 0,
      downUntil: 0,
      wall: START,
      down: () => (this.#faults.downUntil > simulation.now ? databaseDown() : undefined),
    };
    this.#identities = new SimIdentities(simulation, () => database.store);
    const singletons = new SimSingletons(simulation);
    const settings = {
      overcommit,
      strategy: random.pick(["spread", "pack", "round_robin"] as const),
      maxLive,
      lateAfterMs: unreachableAfterMs / 3,
      unreachableAfterMs,
    };
    const names = ["1", "2", "3"].slice(0, random.pick([1, 2, 2, 3]));
    this.controls = names.map(
      (name) =>
        new SimControl({
          name,
          simulation,
          random: this.#random,
          database,
          faults: this.#faults,
          ledger: this.ledger,
          identities: this.#identities,
          singletons,
          settings,
          plant,
          notify: () => this.#notify(),
        }),
    );
    this.workers = [...machines.values()].map((machine) => {
      machine.forgetful = plant.forgetful === true;
      const worker = new SimWorker(
        machine,
        {
          capacity: this.#capacity(),
          labels: random.chance(0.5) ? { zone: random.pick(["x", "y"]) } : {},
          onControlLoss: random.chance(0.7) ? "run" : "pause",
        },
        { offset: START + (random.chance(0.2) ? random.pick([-1, 1]) * 3_600_000 : random.int(-300, 300)) },
        simulation,
        () => this.controls,
        (leftAt) => this.ledger.heard(machine.workerId, leftAt),
      );
      for (const control of this.controls) control.wires.set(worker.id, new Wire(`${control.name}-${worker.id}`, simulation));
      return worker;
    });
    this.#length = plant.partition === true ? 150_000 : random.int(15_000, random.chance(0.6) ? 50_000 : 140_000);
    if (plant.partition === true) {
      simulation.after(20_000, () => {
        for (const control of this.controls) for (const wire of control.wires.values()) wire.cut(["up", "down"], 100_000);
      });
    }
    this.trouble = new Trouble({
      simulation,
      controls: this.controls,
      workers: this.workers,
      ledger: this.ledger,
      database: this.#faults,
      singletons,
      boot: (control) => this.#boot(control),
      noticed: () => this.#notice(),
    });
    const door = { ask: this.#ask.bind(this) };
    this.#users = new Users(simulation, door, this.ledger, {
      vary: () => this.#vary(),
      errors: ["database_unavailable", "no_capacity", "provider_unavailable", "worker_not_found", "conflict", "deadline_exceeded"],
    });
    this.#admins = new Admins(simulation, { ask: this.#askAdmin.bind(this) }, this.ledger, this.#identities, [...machines.keys()]);
  }

  async play(): Promise<void> {
    const { random } = this.simulation;
    for (const worker of this.workers) {
      await this.#identities.join(worker.id, random.chance(0.1) ? "t1" : null);
      this.ledger.wrote(this.#database.takeChanges());
      worker.start();
    }
    for (const control of this.controls) this.simulation.after(random.int(0, 2_000), () => this.#boot(control));
    this.trouble.plan(this.#length);
    for (let actions = random.int(5, 18); actions > 0; actions -= 1) {
      const at = random.int(1_000, this.#length);
      // Bursts find races that single requests do not.
      const crowd = random.chance(0.05);
      for (let burst = crowd ? random.int(5, 8) : random.chance(0.3) ? random.int(2, 4) : 1; burst > 0; burst -= 1) {
        this.simulation.after(at + random.int(0, crowd ? 20 : 400), () => this.#users.act(crowd ? "create" : "anything"));
      }
    }
    for (let actions = random.chance(0.5) ? random.int(1, 5) : 0; actions > 0; actions -= 1) {
      this.simulation.after(random.int(3_000, this.#length), () => {
        if (this.#admins.active) this.#admins.act();
      });
    }
    for (let at = 15_000; at <= this.#length; at += 15_000) {
      await this.simulation.run(at);
      this.#inspect();
    }
    await this.#rest();
  }

  close(): void {
    for (const control of this.controls) control.crash();
    for (const worker of this.workers) worker.process?.crash();
  }

  /** No more faults and no more wishes: soon all must be as it should. */
  async #rest(): Promise<void> {
    this.trouble.active = false;
    this.#users.active = false;
    this.#admins.active = false;
    this.simulation.note(() => "world  is quiet from here on");
    Object.assign(this.#faults, { before: 0, after: 0, downUntil: 0 });
    for (const worker of this.workers) {
      Object.assign(worker.machine.faults, { fail: 0, boot: 0, slow: 0, lost: 0, duplicate: 0 });
      worker.lies = undefined;
      for (const box of worker.machine.boxes.values()) if (box.state === "unhealthy") box.state = "running";
      worker.process?.thaw();
      worker.start();
    }
    // Some of those that were removed stay so: what they still have is nobody's, and nothing is promised of them.
    const out = this.workers.filter(({ id }) => this.ledger.workers.get(id)?.state === "removed" && this.#random.chance(0.5));
    await this.#admit(out);
    for (const control of this.controls) {
      control.process?.thaw();
      this.#boot(control);
    }
    for (const control of this.controls) for (const wire of control.wires.values()) wire.heal();
    const shown = this.#ignore() ? DEADLINES_MS.shownAfterAnother : DEADLINES_MS.shown;
    let healedAt = this.simulation.now;
    let until = healedAt + DEADLINES_MS.rest;
    // Requests that are still on their way may arrive late; most worlds are at rest long before the last of them.
    const thorough = this.#random.chance(0.05);
    let unrest: string | undefined = "not looked at";
    let untrue: string | undefined = unrest;
    while (this.simulation.now < until && (thorough || unrest !== undefined)) {
      await this.simulation.run(Math.min(until, this.simulation.now + (untrue === undefined ? 5_000 : 1_000)));
      if (await this.#admit(out)) {
        // What an admin had asked for before was done only now.
        healedAt = this.simulation.now;
        until = healedAt + DEADLINES_MS.rest;
      }
      unrest = this.ledger.unrest();
      untrue = this.ledger.untrue("known");
      const since = this.simulation.now - healedAt;
      if (untrue === undefined && this.trueAfter === 0) this.trueAfter = since;
      if (untrue !== undefined && since > shown) this.simulation.violate(`${since} ms after all was healed: ${untrue}`);
      this.simulation.surface();
    }
    if (unrest !== undefined) this.simulation.violate(`${DEADLINES_MS.rest} ms after the last fault: ${unrest}`);
    this.#inspect();
    this.ledger.check(await this.#database.store.events.after(0, 100_000));
    this.simulation.surface();
  }

  /** One control plane goes on without something of one worker, which the others have; whether there is such a one. */
  #ignore(): boolean {
    const [control, ...others] = this.controls;
    if (control === undefined || others.length === 0 || !(this.#ignored || this.#random.chance(0.15))) return false;
    const kind = this.#ignored ? "inventory" : this.#random.pick<Lossy>(["heartbeat", "inventory"]);
    for (const wire of control.wires.values()) if (this.#ignored || this.#random.chance(0.5)) wire.lose(kind, Infinity);
    return true;
  }

  /** Lets all workers join that were removed or whose credentials are good no more, but those that stay out; whether there were any. */
  async #admit(out: readonly SimWorker[]): Promise<boolean> {
    const refused = this.workers.filter((worker) => {
      const removed = this.ledger.workers.get(worker.id)?.state === "removed";
      return !out.includes(worker) && (removed || !this.#identities.isGood(worker.id));
    });
    for (const { id } of refused) await this.#identities.join(id);
    this.ledger.wrote(this.#database.takeChanges());
    return refused.length > 0;
  }

  #inspect(): void {
    this.ledger.inspect();
    this.simulation.surface();
  }

  #capacity(): Amounts {
    const { random } = this.simulation;
    return {
      vcpus: random.int(1, 8),
      memory_mb: random.pick([64, 128, 256, 1024]),
      disk_mb: random.pick([128, 512]),
      sandboxes: random.chance(0.5) ? 0 : random.int(1, 6),
    };
  }

  #vary(): Partial<CreateSandbox> {
    const { random } = this.simulation;
    return {
      ...(random.chance(0.1) ? { worker_id: random.pick(this.workers).id } : {}),
      ...(random.chance(0.1) ? { worker_labels: { zone: random.pick(["x", "y"]) } } : {}),
      ...(random.chance(0.15) ? { tenant_id: random.pick(["t1", "t2"]) } : {}),
      ...(random.chance(0.3) ? { memory_mb: random.pick([16, 48, 64, 128]) } : {}),
    };
  }

  /** Starts a control plane, and lets workers find it. */
  #boot(control: SimControl): void {
    if (control.process !== undefined) return;
    control.boot();
    this.#notice();
    for (const worker of this.workers) worker.meet(control);
  }

  /** Whether somebody is there to keep deadlines has changed. */
  #notice(): void {
    const up =
      this.controls.some((control) => control.process !== undefined && !control.process.frozen) &&
      this.#faults.downUntil <= this.simulation.now;
    this.ledger.alive(up);
  }

  #notify(): void {
    for (const control of this.controls) control.notified();
  }

  #ask<T>(call: (orchestrator: Orchestrator) => Promise<T>, answered: (result: PromiseSettledResult<T>) => void, lost: () => void): void {
    const up = this.controls.filter((control) => control.process !== undefined);
    if (up.length === 0) return lost();
    this.simulation.random.pick(up).ask((parts) => call(parts.orchestrator), answered, lost);
  }

  #askAdmin<T>(call: (workers: WorkerOperations) => Promise<T>, answered: (result: PromiseSettledResult<T>) => void): void {
    const up = this.controls.filter((control) => control.process !== undefined);
    if (up.length > 0)
      this.simulation.random.pick(up).ask(
        (parts) => call(parts.workers),
        answered,
        () => undefined,
      );
  }
}
