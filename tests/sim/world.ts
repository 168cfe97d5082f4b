import type { Clock } from "@caisson/contract";
import { Orchestrator, SteadyClock, type ControlDefaults, type OrchestratorOptions } from "@caisson/control";
import type { Store } from "@caisson/store";
import { SeededRandom } from "@caisson/testkit";
import { guestOf } from "./sim-guest.ts";
import { violationOf } from "./broken-world.ts";
import { Ledger } from "./ledger.ts";
import { SimHost, SimMachine } from "./sim-host.ts";
import { SimProcess, type WallTime } from "./sim-process.ts";
import { SimDatabase } from "./sim-database.ts";
import { Simulation, type Violation } from "./simulation.ts";
import { simStore, type StoreFaults } from "./sim-store.ts";
import { Users } from "./users.ts";

/** A bug put in on purpose, to prove that the simulator would find it. */
export interface Plant {
  readonly store?: (store: Store) => Store;
  readonly clock?: (clock: Clock) => Clock;
  readonly transition?: NonNullable<OrchestratorOptions["transition"]>;
}

/** Latest true time by which all must be at rest after the last fault, in ms. */
const QUIET_MS = 240_000;
const START = Date.UTC(2030, 0, 1);

/** What a run showed. */
export interface Outcome {
  readonly violation: Violation | undefined;
  readonly trace: readonly string[];
  /** How much happened, for a report and to see that a replay is one. */
  readonly sandboxes: number;
  /** How many of them a user was told to run. */
  readonly acknowledged: number;
  readonly crashes: number;
}

/** Plays one seed. */
export async function play(seed: number, options: { readonly plant?: Plant; readonly recording?: boolean } = {}): Promise<Outcome> {
  const world = await World.open(seed, options.plant ?? {}, options.recording === true);
  const violation = await violationOf(world, options);
  const entries = [...world.ledger.entries.values()];
  const acknowledged = entries.filter((entry) => entry.acknowledged).length;
  return { violation, trace: world.simulation.trace, sandboxes: entries.length, acknowledged, crashes: world.crashes };
}

/** A database, machines, users, and one control plane after the other. */
class World {
  readonly simulation: Simulation;
  readonly ledger: Ledger;
  readonly #machines: ReadonlyMap<string, SimMachine>;
  readonly #wall: WallTime = { offset: START };
  readonly #storeFaults: StoreFaults = { before: 0, after: 0 };
  readonly #defaults: ControlDefaults;
  readonly #plant: Plant;
  readonly #users: Users;
  readonly #pending = new Set<() => void>();
  readonly #random: SeededRandom;
  #store: Store | undefined;
  #process: SimProcess | undefined;
  #steady: SteadyClock | undefined;
  #orchestrator: Orchestrator | undefined;
  #jumpedAt = 0;
  crashes = 0;

  private constructor(seed: number, plant: Plant, recording: boolean) {
    this.simulation = new Simulation(seed, recording);
    const { random } = this.simulation;
    this.#random = new SeededRandom(random.next());
    this.#plant = plant;
    const names = random.chance(0.3) ? ["a", "b"] : ["a"];
    this.#machines = new Map(
      names.map((name) => [name, new SimMachine(name, this.simulation, (machine, id) => this.ledger.booted(machine, id))]),
    );
    const maxSandboxes = random.chance(0.3) ? random.int(2, 5) : 0;
    this.#defaults = { image: "host", ttlMs: 1_800_000, maxTtlMs: 86_400_000, memoryMb: 32, pids: 64, maxSandboxes };
    this.ledger = new Ledger(this.simulation, this.#machines, maxSandboxes);
    const door = { ask: this.#ask.bind(this) };
    this.#users = new Users(this.simulation, door, this.ledger);
  }

  static async open(seed: number, plant: Plant, recording: boolean): Promise<World> {
    const world = new World(seed, plant, recording);
    const database = await SimDatabase.shared();
    database.clear();
    database.now = () => world.#steady?.now() ?? START;
    world.#store = database.store;
    return world;
  }

  close(): void {
    this.#process?.crash();
  }

  async play(): Promise<void> {
    const { random } = this.simulation;
    this.#boot();
    this.#disturb();
    const length = random.int(20_000, 120_000);
    for (let actions = random.int(4, 14); actions > 0; actions -= 1) {
      const at = random.int(0, length);
      // Bursts find races that single requests do not.
      for (let burst = random.chance(0.3) ? random.int(2, 4) : 1; burst > 0; burst -= 1) {
        this.simulation.after(at + random.int(0, 400), () => this.#users.act());
      }
    }
    for (let at = 15_000; at <= length; at += 15_000) {
      await this.simulation.run(at);
      await this.#check();
    }
    await this.#rest();
  }

  /** No more faults and no more wishes: soon all must be as it should. */
  async #rest(): Promise<void> {
    this.#users.active = false;
    Object.assign(this.#storeFaults, { before: 0, after: 0 });
    for (const machine of this.#machines.values()) {
      Object.assign(machine.faults, { fail: 0, slow: 0, lost: 0, duplicate: 0 });
      machine.partitioned = false;
      for (const box of machine.boxes.values()) if (box.state === "unhealthy") box.state = "running";
    }
    this.simulation.note(() => "world  is quiet from here on");
    if (this.#process === undefined) this.#boot();
    const store = this.#database();
    const until = this.simulation.now + QUIET_MS;
    // Requests that are still on their way may arrive late; most worlds are at rest long before the last of them.
    const thorough = this.#random.chance(0.1);
    let unrest: string | undefined = "not looked at";
    while (this.simulation.now < until && (thorough || unrest !== undefined)) {
      await this.simulation.run(Math.min(until, this.simulation.now + 10_000));
      unrest = await this.ledger.unrest(store);
    }
    if (unrest !== undefined) this.simulation.violate(`${QUIET_MS} ms after the last fault: ${unrest}`);
    await this.ledger.checkEvents(store);
    await this.#check();
  }

  async #check(): Promise<void> {
    await this.ledger.inspect(this.#database());
    const since = this.simulation.now - Math.max(this.#jumpedAt, this.ledger.aliveSince ?? Infinity);
    const drift = this.#steady?.drift() ?? 0;
    if (since > 30_000 && Math.abs(drift) > 10) this.simulation.violate(`nobody noticed that the wall clock is ahead by ${drift} ms`);
    this.simulation.surface();
  }

  #database(): Store {
    if (this.#store === undefined) throw new Error("the world is not open");
    return this.#store;
  }

  /** Starts a control plane on what the last one left. */
  #boot(): void {
    const process = new SimProcess(this.simulation, this.#wall);
    const steady = new SteadyClock(this.#plant.clock?.(process.clock) ?? process.clock);
    this.#process = process;
    this.#steady = steady;
    const plain = simStore(this.#database(), process, this.simulation, this.#storeFaults, (...write) => this.ledger.wrote(...write));
    this.#orchestrator = new Orchestrator({
      clock: steady,
      random: this.#random,
      store: this.#plant.store?.(plain) ?? plain,
      defaults: this.#defaults,
      logger: this.#logger(),
      guestOf,
      ...(this.#plant.transition === undefined ? {} : { transition: this.#plant.transition }),
    });
    for (const machine of this.#machines.values()) this.#orchestrator.attach(new SimHost(machine, process, this.simulation));
    this.ledger.aliveSince = this.simulation.now;
    this.simulation.note(() => "world  a control plane starts");
    void this.#orchestrator.start();
  }

  #crash(): void {
    if (this.#process === undefined) return;
    this.simulation.note(() => "world  the control plane is killed");
    this.crashes += 1;
    this.#process.crash();
    if (Math.abs(this.#steady?.drift() ?? 0) >= 1_000) this.ledger.clockLost();
    this.#process = undefined;
    this.#orchestrator = undefined;
    this.ledger.aliveSince = undefined;
    const lost = [...this.#pending];
    this.#pending.clear();
    for (const call of lost) call();
    this.simulation.after(this.simulation.delay(500, 40_000, 0.1), () => {
      if (this.#process === undefined) this.#boot();
    });
  }

  #ask<T>(call: (orchestrator: Orchestrator) => Promise<T>, answered: (result: PromiseSettledResult<T>) => void, lost: () => void): void {
    if (this.#orchestrator === undefined) return lost();
    this.#pending.add(lost);
    const settle = (result: PromiseSettledResult<T>): void => {
      if (this.#pending.delete(lost)) answered(result);
    };
    call(this.#orchestrator).then(
      (value) => settle({ status: "fulfilled", value }),
      (reason: unknown) => settle({ status: "rejected", reason }),
    );
  }

  /** Decides which faults this world has and when. */
  #disturb(): void {
    const { random } = this.simulation;
    const often = (odds: number, worst: number): number => (random.chance(odds) ? (random.int(1, 100) / 100) * worst : 0);
    Object.assign(this.#storeFaults, { before: often(0.25, 0.03), after: often(0.25, 0.03) });
    for (const machine of this.#machines.values()) {
      Object.assign(machine.faults, { fail: often(0.4, 0.3), slow: often(0.5, 0.3), lost: often(0.4, 0.3), duplicate: often(0.4, 0.3) });
    }
    const at = (): number => random.int(0, 120_000);
    const some = (odds: number, most: number, what: () => void): void => {
      if (!random.chance(odds)) return;
      for (let i = random.int(1, most); i > 0; i -= 1)
        this.simulation.after(at(), () => {
          if (this.#users.active) what();
        });
    };
    some(0.6, 4, () => this.#crash());
    some(0.3, 3, () => this.#jump());
    some(0.3, 2, () => this.#partition());
    some(0.3, 2, () => random.pick([...this.#machines.values()]).restart({ boxes: random.chance(0.6), memory: random.chance(0.7) }));
    some(0.3, 3, () => this.#hurtBox());
    some(0.1, 2, () => this.#haunt());
  }

  #jump(): void {
    const { random } = this.simulation;
    const ms = random.chance(0.3) ? random.int(-1_000, 1_000) : random.int(-7_200_000, 7_200_000);
    this.simulation.note(() => `world  the wall clock is set by ${ms} ms`);
    this.#wall.offset += ms;
    this.#jumpedAt = this.simulation.now;
    if (this.#process === undefined) this.ledger.clockLost();
  }

  #partition(): void {
    const { random } = this.simulation;
    const machine = random.pick([...this.#machines.values()]);
    machine.partitioned = true;
    this.simulation.note(() => `world  ${machine.workerId} is cut off`);
    this.simulation.after(random.int(1_000, 180_000), () => {
      machine.partitioned = false;
    });
  }

  #haunt(): void {
    const { random } = this.simulation;
    const ended = [...this.ledger.entries].filter(([, entry]) => entry.state === "destroyed").map(([id]) => id);
    random.pick([...this.#machines.values()]).haunt(ended.length > 0 && random.chance(0.7) ? random.pick(ended) : "sbnobody");
  }

  #hurtBox(): void {
    const { random } = this.simulation;
    const machine = random.pick([...this.#machines.values()]);
    const ids = [...machine.boxes.keys()];
    if (ids.length === 0) return;
    const id = random.pick(ids);
    if (random.chance(0.5)) return machine.kill(id, random.chance(0.5) ? "left" : "vanished");
    const box = machine.boxes.get(id);
    if (box?.state !== "running") return;
    box.state = "unhealthy";
    this.simulation.after(random.int(1_000, 60_000), () => {
      if (box.state === "unhealthy") box.state = "running";
    });
  }

  #logger(): OrchestratorOptions["logger"] {
    const line = (fields: object, message: string): void => {
      const { err, ...rest } = fields as { err?: Error };
      this.simulation.note(() => `log    ${message} ${JSON.stringify(rest)}${err === undefined ? "" : ` ${err.message}`}`);
    };
    return { debug: line, info: line, warn: line, error: line };
  }
}
