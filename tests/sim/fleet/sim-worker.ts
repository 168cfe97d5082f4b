import {
  CaissonError,
  isCaissonError,
  type Amounts,
  type ControlLossPolicy,
  type Heartbeat,
  type HeartbeatReply,
  type HostSandbox,
  type ProviderReport,
} from "@caisson/contract";
import type { WorkerSession } from "@caisson/control";
import type { SimMachine } from "../sim-host.ts";
import { SimProcess, type WallTime } from "../sim-process.ts";
import type { Simulation } from "../simulation.ts";
import type { Connection } from "./connection.ts";
import type { Wire } from "./wire.ts";

/** Time between two heartbeats, in ms. */
export const HEARTBEAT_MS = 10_000;
/** Shortest and longest rest before a control plane is dialled again, in ms. */
const REDIAL_MS = { least: 200, most: 5_000 } as const;

/** What a worker is told by whoever set it up. */
export interface WorkerSettings {
  readonly capacity: Amounts;
  readonly labels: Readonly<Record<string, string>>;
  readonly onControlLoss: ControlLossPolicy;
}

/** A control plane as a worker dials it. */
export interface Dialled {
  readonly name: string;
  /** What lies between it and each worker. */
  readonly wires: ReadonlyMap<string, Wire>;
  /** A connection whose credential was checked, and the session at its other end; undefined when none could be made. */
  dial(worker: SimWorker): Promise<{ readonly connection: Connection; readonly session: () => WorkerSession } | "refused" | undefined>;
}

/** The worker's process on a machine: it links to every control plane, tells of itself, and boots nothing it has no right to. */
export class SimWorker {
  readonly id: string;
  readonly machine: SimMachine;
  readonly settings: WorkerSettings;
  /** Its own wall clock, which may be wrong. */
  readonly wall: WallTime;
  /** What it says it has besides what it has; set on one that lies. */
  lies: ((truth: readonly HostSandbox[]) => readonly HostSandbox[]) | undefined;
  /** Whether its credential is good; an admin took it otherwise. */
  credentialGood = true;
  draining = false;
  readonly #simulation: Simulation;
  readonly #controls: () => readonly Dialled[];
  readonly #sessions = new Map<Dialled, { readonly connection: Connection; readonly session: () => WorkerSession }>();
  /** A control plane has taken a heartbeat. */
  readonly #wasHeard: (leftAt: number) => void;
  #process: SimProcess | undefined;
  #session = "";
  #sequence = 0;
  /** Monotonic time of its process until which it may boot. */
  #leaseUntil = 0;
  #frozenBoxes = false;
  #lives = 0;

  constructor(
    machine: SimMachine,
    settings: WorkerSettings,
    wall: WallTime,
    simulation: Simulation,
    controls: () => readonly Dialled[],
    heard: (leftAt: number) => void,
  ) {
    this.#wasHeard = heard;
    this.id = machine.workerId;
    this.machine = machine;
    this.settings = settings;
    this.wall = wall;
    this.#simulation = simulation;
    this.#controls = controls;
    machine.refusal = () => this.#refusal();
  }

  get process(): SimProcess | undefined {
    return this.#process;
  }

  /** Whether a control plane hears it now. */
  get linked(): boolean {
    return [...this.#sessions.values()].some(({ connection }) => connection.isOpen("worker") && connection.isOpen("control"));
  }

  /** Starts its process on what its disk has. */
  start(): void {
    if (this.#process !== undefined) return;
    const process = new SimProcess(this.#simulation, this.wall);
    this.#process = process;
    this.#lives += 1;
    this.#session = `${this.id}-${this.#lives}`;
    this.#sequence = 0;
    this.#leaseUntil = 0;
    this.draining = false;
    this.#simulation.note(() => `worker ${this.id} starts, session ${this.#session}`);
    for (const control of this.#controls()) this.#redial(control, process, this.#simulation.random.int(0, 500));
  }

  /** Its process dies; boxes may live on. */
  crash(keep: { readonly boxes: boolean; readonly memory: boolean }): void {
    if (this.#process === undefined) return;
    this.#simulation.note(() => `worker ${this.id} is killed`);
    const process = this.#process;
    this.#process = undefined;
    this.#sessions.clear();
    this.machine.restart(keep);
    process.crash();
  }

  /** A control plane has come: it is dialled too. */
  meet(control: Dialled): void {
    if (this.#process !== undefined) this.#redial(control, this.#process, this.#simulation.random.int(0, 2_000));
  }

  /** Links to a control plane once more, though the link that it has may be well. */
  linkAgain(control: Dialled): void {
    if (this.#process !== undefined) void this.#dial(control, this.#process);
  }

  /** Something happened to one of its sandboxes. */
  report(sandboxId: string, epoch: number): void {
    for (const { connection, session } of this.#sessions.values()) {
      connection.call("worker", `report ${sandboxId}`, () => session().report({ sandbox_id: sandboxId, epoch })).catch(() => undefined); // no promise that it arrives
    }
  }

  /** Says or asks something of its own accord on one of its links; undefined when there is none. */
  tell<T>(what: string, say: (session: WorkerSession) => Promise<T>): Promise<T> | undefined {
    const links = [...this.#sessions.values()].filter(({ connection }) => connection.isOpen("worker"));
    if (links.length === 0) return undefined;
    const { connection, session } = this.#simulation.random.pick(links);
    return connection.call("worker", what, () => say(session()));
  }

  /** The heartbeat it would send now. */
  heartbeat(withProviders: boolean): Heartbeat {
    this.#sequence += 1;
    return {
      session: this.#session,
      sequence: this.#sequence,
      version: "0",
      now: this.#process?.clock.now() ?? 0,
      draining: this.draining,
      labels: this.settings.labels,
      capacity: this.settings.capacity,
      used: { vcpus: 0, memory_mb: 0, disk_mb: 0, sandboxes: this.machine.boxes.size },
      providers_digest: "sim",
      ...(withProviders ? { providers: this.providers() } : {}),
      images: [],
      preview_domain: null,
      preview_url: null,
      public_url: null,
      advertise_addr: null,
      on_control_loss: this.settings.onControlLoss,
    };
  }

  providers(): ProviderReport[] {
    return [...this.machine.describe().providers];
  }

  #redial(control: Dialled, process: SimProcess, ms: number): void {
    process.clock.schedule(ms, () => {
      if (this.#sessions.has(control) || !this.#controls().includes(control)) return;
      void this.#dial(control, process);
    });
  }

  async #dial(control: Dialled, process: SimProcess): Promise<void> {
    const again = (): void => this.#redial(control, process, this.#simulation.random.int(REDIAL_MS.least, REDIAL_MS.most));
    const made = await control.dial(this);
    if (!process.alive) return;
    if (made === undefined) return again();
    if (made === "refused") {
      await this.#controlLost();
      return again();
    }
    this.#sessions.set(control, made);
    made.connection.onClosed("worker", () => {
      if (this.#sessions.get(control) !== made) return;
      this.#sessions.delete(control);
      if (process.alive) again();
    });
    void this.#beat(control, made, process, true);
  }

  /** Tells of itself on one link until that ends. */
  async #beat(
    control: Dialled,
    link: { readonly connection: Connection; readonly session: () => WorkerSession },
    process: SimProcess,
    withProviders: boolean,
  ): Promise<void> {
    if (this.#sessions.get(control) !== link || !process.alive) return;
    const beat = this.heartbeat(withProviders);
    const leftAt = this.#simulation.now;
    let next = false;
    this.#replay(beat);
    process.clock.schedule(HEARTBEAT_MS, () => void this.#beat(control, link, process, next));
    if (control.wires.get(this.id)?.loses("heartbeat") === true) return;
    try {
      const reply = await link.connection.call("worker", `heartbeat ${beat.session} ${beat.sequence}`, async () => {
        const answer = await link.session().heartbeat(beat);
        this.#wasHeard(leftAt);
        return answer;
      });
      next = reply.send_providers;
      this.#heard(reply, process);
    } catch (error) {
      if (!isCaissonError(error, "unauthorized", "forbidden")) return;
      this.#simulation.note(() => `worker ${this.id} is refused: ${(error as Error).message}`);
      link.connection.close("worker", "it was refused");
    }
  }

  /** An old heartbeat comes once more, on whatever link there is then: it must change nothing. */
  #replay(beat: Heartbeat): void {
    const { random } = this.#simulation;
    if (!random.chance(this.machine.faults.duplicate / 4)) return;
    this.#simulation.after(random.int(0, 60_000), () => {
      const told = this.tell(`heartbeat ${beat.session} ${beat.sequence} (again)`, (session) => session.heartbeat(beat));
      told?.catch(() => undefined); // refused or lost, nobody waits for it
    });
  }

  #heard(reply: HeartbeatReply, process: SimProcess): void {
    this.#leaseUntil = Math.max(this.#leaseUntil, process.clock.monotonic() + reply.lease_ms);
    if (this.#frozenBoxes) this.#thaw();
  }

  /** Its credential is refused: what its sandboxes do now was decided beforehand. */
  async #controlLost(): Promise<void> {
    if (this.settings.onControlLoss !== "pause" || this.#frozenBoxes) return;
    this.#simulation.note(() => `worker ${this.id} freezes its boxes`);
    this.#frozenBoxes = true;
    for (const box of this.machine.boxes.values()) if (box.state === "running") box.state = "paused";
  }

  #thaw(): void {
    this.#simulation.note(() => `worker ${this.id} thaws its boxes`);
    this.#frozenBoxes = false;
    for (const box of this.machine.boxes.values()) if (box.state === "paused") box.state = "running";
  }

  #refusal(): CaissonError | undefined {
    const process = this.#process;
    if (process === undefined) return new CaissonError("worker_unavailable", "simulated: the worker is not there");
    if (process.clock.monotonic() > this.#leaseUntil)
      return new CaissonError("lease_lost", "simulated: no control plane was heard for too long");
    return undefined;
  }
}
