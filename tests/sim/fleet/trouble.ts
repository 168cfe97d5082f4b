import type { HostSandbox } from "@caisson/contract";
import type { Simulation } from "../simulation.ts";
import type { FleetLedger } from "./fleet-ledger.ts";
import type { SharedFaults } from "./fleet-store.ts";
import type { SimControl } from "./sim-control.ts";
import type { SimSingletons } from "./sim-singletons.ts";
import type { SimWorker } from "./sim-worker.ts";
import type { Direction, Lossy } from "./wire.ts";

/** What can be troubled. */
export interface TroubleOptions {
  readonly simulation: Simulation;
  readonly controls: readonly SimControl[];
  readonly workers: readonly SimWorker[];
  readonly ledger: FleetLedger;
  readonly database: SharedFaults;
  readonly singletons: SimSingletons;
  readonly boot: (control: SimControl) => void;
  /** Somebody went, came, was suspended or goes on. */
  readonly noticed: () => void;
}

/** All that goes wrong in a world: processes, machines, wires, clocks, the database, and what a worker says. */
export class Trouble {
  readonly #simulation: Simulation;
  readonly #controls: readonly SimControl[];
  readonly #workers: readonly SimWorker[];
  readonly #ledger: FleetLedger;
  readonly #database: SharedFaults;
  readonly #singletons: SimSingletons;
  readonly #boot: (control: SimControl) => void;
  readonly #noticed: () => void;
  active = true;
  crashes = 0;

  constructor(options: TroubleOptions) {
    this.#simulation = options.simulation;
    this.#controls = options.controls;
    this.#workers = options.workers;
    this.#ledger = options.ledger;
    this.#database = options.database;
    this.#singletons = options.singletons;
    this.#boot = options.boot;
    this.#noticed = options.noticed;
  }

  /** Decides which faults a world of this length has and when. */
  plan(length: number): void {
    const { random } = this.#simulation;
    const often = (odds: number, worst: number): number => (random.chance(odds) ? (random.int(1, 100) / 100) * worst : 0);
    Object.assign(this.#database, { before: often(0.2, 0.03), after: often(0.2, 0.03) });
    for (const { machine } of this.#workers) {
      Object.assign(machine.faults, {
        fail: often(0.4, 0.3),
        boot: random.chance(0.15) ? random.pick([0.5, 1]) : 0,
        slow: often(0.4, 0.3),
        lost: 0,
        duplicate: often(0.4, 0.3),
      });
    }
    for (const control of this.#controls) for (const wire of control.wires.values()) wire.slow = often(0.2, 0.1);
    const some = (odds: number, most: number, what: () => void): void => {
      if (!random.chance(odds)) return;
      for (let i = random.int(1, most); i > 0; i -= 1) {
        this.#simulation.after(random.int(0, length), () => {
          if (this.active) what();
        });
      }
    };
    some(0.4, 3, () => this.#crashControl(random.pick(this.#controls)));
    some(0.4, 3, () => this.#crashWorker(random.pick(this.#workers)));
    some(0.4, 3, () => this.#cut());
    some(0.25, 2, () => this.#flap());
    some(0.2, 6, () => random.pick(this.#workers).linkAgain(random.pick(this.#controls)));
    some(0.15, 2, () => this.#freezeWorker());
    some(0.15, 2, () => this.#freezeControl());
    some(0.2, 3, () => this.#hurtBox());
    some(0.15, 2, () => this.#outage());
    some(0.08, 2, () => this.#haunt());
    some(0.1, 3, () => this.#setClock());
    some(0.1, 2, () => this.#correctDatabase());
    some(0.08, 2, () => this.#lie());
    some(0.1, 2, () => this.#drainItself());
  }

  /** Cuts one wire, all of one worker, or all of one control plane: both ways or one. */
  #cut(): void {
    const { random } = this.#simulation;
    const ways = random.pick<readonly Direction[]>([["up", "down"], ["up", "down"], ["up"], ["down"]]);
    const ms = random.chance(0.4) ? random.int(1_000, 20_000) : random.int(20_000, 200_000);
    const control = random.pick(this.#controls);
    const worker = random.pick(this.#workers);
    const wires = random.pick([
      () => [control.wires.get(worker.id)],
      () => this.#controls.map((one) => one.wires.get(worker.id)),
      () => [...control.wires.values()],
    ])();
    for (const wire of wires) wire?.cut(ways, ms);
  }

  /** On some wires of a worker one kind of message comes and goes, while all else passes. */
  #flap(): void {
    const { random } = this.#simulation;
    const kind = random.pick<Lossy>(["heartbeat", "heartbeat", "inventory", "inventory", "inspect"]);
    const worker = random.pick(this.#workers);
    const wires = random.chance(0.5)
      ? this.#controls.map((one) => one.wires.get(worker.id))
      : [random.pick(this.#controls).wires.get(worker.id)];
    let at = 0;
    for (let times = random.int(1, 5); times > 0; times -= 1) {
      const ms = random.chance(0.5) ? random.int(1_000, 20_000) : random.int(20_000, 120_000);
      this.#simulation.after(at, () => {
        if (this.active) for (const wire of wires) wire?.lose(kind, ms);
      });
      at += ms + random.int(500, 25_000);
    }
  }

  #freezeWorker(): void {
    const { random } = this.#simulation;
    const worker = random.pick(this.#workers);
    const ms = random.chance(0.5) ? random.int(500, 15_000) : random.int(15_000, 180_000);
    this.#simulation.note(() => `world  worker ${worker.id} is suspended for ${ms} ms`);
    worker.process?.freeze(ms);
    for (const control of this.#controls) control.wires.get(worker.id)?.attend();
  }

  #freezeControl(): void {
    const { random } = this.#simulation;
    const control = random.pick(this.#controls);
    const ms = random.chance(0.5) ? random.int(500, 15_000) : random.int(15_000, 180_000);
    this.#simulation.note(() => `world  control plane ${control.name} is suspended for ${ms} ms`);
    control.process?.freeze(ms);
    if (control.process !== undefined) this.#singletons.cutOff(control.process);
    for (const wire of control.wires.values()) wire.attend();
    this.#noticed();
    this.#simulation.after(ms + 1, () => this.#noticed());
  }

  #hurtBox(): void {
    const { random } = this.#simulation;
    const worker = random.pick(this.#workers);
    const { machine } = worker;
    const ids = [...machine.boxes.keys()];
    if (ids.length === 0) return;
    const id = random.pick(ids);
    const box = machine.boxes.get(id);
    if (random.chance(0.5)) {
      machine.kill(id, random.chance(0.5) ? "left" : "vanished");
      if (random.chance(0.5)) worker.report(id, box?.epoch ?? 0);
      return;
    }
    if (box?.state !== "running") return;
    box.state = "unhealthy";
    this.#simulation.after(random.int(1_000, 60_000), () => {
      if (box.state === "unhealthy") box.state = "running";
    });
  }

  #outage(): void {
    const ms = this.#simulation.random.int(500, 40_000);
    this.#simulation.note(() => `world  the database is down for ${ms} ms`);
    this.#database.downUntil = this.#simulation.now + ms;
    this.#noticed();
    this.#simulation.after(ms + 1, () => this.#noticed());
  }

  #haunt(): void {
    const { random } = this.#simulation;
    const ended = [...this.#ledger.entries.values()].filter((entry) => entry.state === "destroyed").map(({ id }) => id);
    random.pick(this.#workers).machine.haunt(ended.length > 0 && random.chance(0.7) ? random.pick(ended) : "sbnobody");
  }

  #setClock(): void {
    const { random } = this.#simulation;
    const worker = random.pick(this.#workers);
    const ms = random.int(-7_200_000, 7_200_000);
    this.#simulation.note(() => `world  the clock of ${worker.id} is set by ${ms} ms`);
    worker.wall.offset += ms;
  }

  /** The time of the database is corrected, or another server serves, and control planes find that out one after the other. */
  #correctDatabase(): void {
    const { random } = this.#simulation;
    const ms = random.int(-1_500, 1_500);
    this.#simulation.note(() => `world  the clock of the database is set by ${ms} ms`);
    this.#database.wall += ms;
    for (const control of this.#controls) {
      const { process } = control;
      this.#simulation.after(random.int(0, 10_000), () => {
        if (control.process === process) control.wall.offset = this.#database.wall + random.int(-50, 50);
      });
    }
  }

  /** A worker claims what is not its own; nobody else's sandbox may suffer. */
  #lie(): void {
    const { random } = this.#simulation;
    const liar = random.pick(this.#workers);
    this.#simulation.note(() => `world  worker ${liar.id} begins to lie`);
    liar.machine.unreliable = true;
    liar.machine.liar = true;
    liar.lies = (truth) => this.#lied(liar, truth);
    const others = [...this.#ledger.entries.values()].filter((entry) => entry.workerId !== liar.id);
    if (others.length === 0) return;
    const victim = random.pick(others);
    this.#mustRefuse(liar, `a report about ${victim.id}`, (session) => session.report({ sandbox_id: victim.id, epoch: victim.epoch }));
    const asked = { sandbox_id: victim.id, epoch: victim.epoch, port: 80 };
    this.#mustRefuse(liar, `the access of ${victim.id}`, (session) => session.portAccess(asked));
  }

  #lied(liar: SimWorker, truth: readonly HostSandbox[]): readonly HostSandbox[] {
    const { random } = this.#simulation;
    const like = { provider: "sim", runtime: null, image: "host", imageDigest: null } as const;
    const foreign = [...this.#ledger.entries.values()].filter((entry) => entry.workerId !== liar.id);
    const said = truth.map((box) => (random.chance(0.3) ? { ...box, epoch: box.epoch + random.int(1, 3) } : box));
    for (const { id, epoch } of foreign) {
      if (random.chance(0.5))
        said.push({ sandboxId: id, epoch: epoch + random.int(0, 2), state: random.pick(["running", "stopped"]), ...like });
    }
    said.push({ sandboxId: "sbinvented", epoch: 7, state: "running", ...like });
    return said;
  }

  #mustRefuse(liar: SimWorker, what: string, say: Parameters<SimWorker["tell"]>[1]): void {
    const told = liar.tell(what, say);
    told?.then(
      () => this.#simulation.violate(`${liar.id} was heard with ${what}, which it does not own`),
      () => undefined, // whether for that or because the link broke
    );
  }

  #drainItself(): void {
    const worker = this.#simulation.random.pick(this.#workers);
    worker.draining = !worker.draining;
    this.#simulation.note(() => `world  worker ${worker.id} ${worker.draining ? "drains itself" : "takes sandboxes again"}`);
  }

  #crashControl(control: SimControl): void {
    if (control.process === undefined) return;
    this.crashes += 1;
    control.crash();
    this.#noticed();
    this.#simulation.after(this.#simulation.delay(500, 60_000, 0.2), () => this.#boot(control));
  }

  #crashWorker(worker: SimWorker): void {
    const { random } = this.#simulation;
    if (worker.process === undefined) return;
    this.crashes += 1;
    worker.crash({ boxes: random.chance(0.7), memory: random.chance(0.8) });
    this.#simulation.after(this.#simulation.delay(500, 150_000, 0.3), () => worker.start());
  }
}
