import {
  CaissonError,
  NO_CAPABILITIES,
  type Channel,
  type ChannelOpener,
  type ConsoleChunk,
  type HostSandbox,
  type ImageHost,
  type SandboxHost,
  type SandboxRef,
  type StartSandbox,
  type WorkerDescription,
} from "@caisson/contract";
import type { SimProcess } from "./sim-process.ts";
import type { Simulation } from "./simulation.ts";

/** How a host and the way to it misbehave: odds from 0 to 1. */
export interface HostFaults {
  /** An operation on the host fails. */
  fail: number;
  /** A box does not boot, besides. */
  boot: number;
  /** An operation takes very long, or for ever. */
  slow: number;
  /** An answer is lost: the caller hears `worker_unavailable`, or nothing. */
  lost: number;
  /** A request arrives a second time, later. */
  duplicate: number;
}

interface Box {
  readonly epoch: number;
  state: "running" | "paused" | "unhealthy" | "stopped";
  readonly provider: string;
  readonly image: string;
  /** Nobody started it. */
  readonly ghost?: boolean;
}

interface Boot {
  readonly epoch: number;
  readonly done: Promise<HostSandbox>;
  readonly stop: (error: CaissonError) => void;
}

/** A machine with boxes. It lives on when control planes die. */
export class SimMachine {
  readonly workerId: string;
  readonly boxes = new Map<string, Box>();
  /** Sandboxes whose box died or was lost by no wish of the control plane. */
  readonly bereft = new Set<string>();
  readonly faults: HostFaults = { fail: 0, boot: 0, slow: 0, lost: 0, duplicate: 0 };
  partitioned = false;
  /** Its memory is not to be trusted: epochs were forgotten, or boxes came back from the dead. */
  unreliable = false;
  /** Boxes that are booted now never come up. */
  hangs = false;
  /** It has said what is not so; what it then refuses to itself is its own affair. */
  liar = false;
  /** It does not look at epochs: a bug put in on purpose. */
  forgetful = false;
  /** Why its worker boots nothing now; undefined when it does. */
  refusal: () => CaissonError | undefined = () => undefined;
  readonly #simulation: Simulation;
  readonly #boots = new Map<string, Boot>();
  readonly #seen = new Map<string, number>();
  readonly #started: (machine: SimMachine, sandboxId: string, epoch: number) => void;
  #life = 0;

  constructor(workerId: string, simulation: Simulation, started: (machine: SimMachine, sandboxId: string, epoch: number) => void) {
    this.workerId = workerId;
    this.#simulation = simulation;
    this.#started = started;
  }

  /** The worker's process dies and is there again at once: with its boxes or without, and with its memory of epochs or without. */
  restart(keep: { readonly boxes: boolean; readonly memory: boolean }): void {
    this.#simulation.note(
      () => `host   ${this.workerId} restarts, boxes ${keep.boxes ? "kept" : "lost"}, memory ${keep.memory ? "kept" : "lost"}`,
    );
    this.#life += 1;
    for (const boot of this.#boots.values()) boot.stop(new CaissonError("worker_unavailable", "simulated: the worker restarted"));
    this.#boots.clear();
    if (!keep.boxes) {
      for (const id of this.boxes.keys()) this.bereft.add(id);
      this.boxes.clear();
    }
    if (keep.memory) return;
    this.#seen.clear();
    this.unreliable = true;
  }

  /** A box appears that nobody started: of a sandbox that ended long ago, or of nobody's. */
  haunt(id: string): void {
    this.#simulation.note(() => `host   ${this.workerId} has a ghost of ${id}`);
    this.unreliable = true;
    if (!this.boxes.has(id)) this.boxes.set(id, { epoch: 1, state: "running", provider: "sim", image: "host", ghost: true });
  }

  /** A box ends by itself. */
  kill(id: string, trace: "left" | "vanished"): void {
    const box = this.boxes.get(id);
    if (box === undefined) return;
    this.#simulation.note(() => `host   ${this.workerId} box of ${id} dies`);
    this.bereft.add(id);
    if (trace === "left") box.state = "stopped";
    else this.boxes.delete(id);
  }

  describe(): WorkerDescription {
    const capabilities = { ...NO_CAPABILITIES, limit_pids: true, limit_memory: this.workerId === "a", images: true };
    return {
      workerId: this.workerId,
      version: "0",
      previewDomain: null,
      providers: [{ name: "sim", tier: "none", available: true, default: true, capabilities, runtimes: [] }],
    };
  }

  async start(spec: StartSandbox, signal: AbortSignal | undefined): Promise<HostSandbox> {
    const { sandboxId: id, epoch } = spec;
    this.#fence(spec);
    const box = this.boxes.get(id);
    if (box?.epoch === epoch) {
      if (box.state === "stopped") throw new CaissonError("provider_failed", "simulated: the box has ended");
      return this.#tell(id, box);
    }
    const booting = this.#boots.get(id);
    if (booting?.epoch === epoch) return booting.done;
    const refusal = this.refusal();
    if (refusal !== undefined) throw refusal;
    booting?.stop(new CaissonError("lease_lost", "simulated: a newer epoch starts"));
    this.boxes.delete(id);
    return this.#boot(spec, signal);
  }

  async destroy(ref: SandboxRef): Promise<void> {
    this.#fence(ref);
    const life = this.#life;
    const boot = this.#boots.get(ref.sandboxId);
    if (boot !== undefined && boot.epoch <= ref.epoch) {
      this.#boots.delete(ref.sandboxId);
      boot.stop(new CaissonError("lease_lost", "simulated: destroyed while it started"));
    }
    await this.#takes(20, 40_000);
    if (life !== this.#life) throw new CaissonError("worker_unavailable", "simulated: the worker restarted");
    this.#mayFail();
    const box = this.boxes.get(ref.sandboxId);
    if (box !== undefined && box.epoch <= ref.epoch) this.boxes.delete(ref.sandboxId);
    this.#simulation.note(() => `host   ${this.workerId} destroyed ${ref.sandboxId} up to epoch ${ref.epoch}`);
  }

  /** Whether something of a sandbox is here, or will be soon. */
  holds(id: string): boolean {
    return this.boxes.has(id) || this.#boots.has(id);
  }

  /** The guest agent answers, if its box is there. */
  ask(ref: SandboxRef): void {
    const box = this.boxes.get(ref.sandboxId);
    if (box === undefined) throw new CaissonError("sandbox_not_found", "simulated: no such box");
    if (box.epoch !== ref.epoch) throw new CaissonError("lease_lost", "simulated: another epoch");
    if (box.state !== "running") throw new CaissonError("agent_unreachable", "simulated: the agent is silent");
  }

  inspect(id: string): HostSandbox | undefined {
    const box = this.boxes.get(id);
    return box === undefined ? undefined : this.#tell(id, box);
  }

  inventory(): readonly HostSandbox[] {
    this.#mayFail();
    const list = [...this.boxes].map(([id, box]) => this.#tell(id, box));
    // What boots may show already, before its agent answers.
    for (const [id, boot] of this.#boots) {
      if (this.#simulation.random.chance(0.5)) {
        list.push({ sandboxId: id, epoch: boot.epoch, state: "running", provider: "sim", runtime: null, image: "host", imageDigest: null });
      }
    }
    return list;
  }

  #boot(spec: StartSandbox, signal: AbortSignal | undefined): Promise<HostSandbox> {
    const { sandboxId: id, epoch } = spec;
    const { promise, resolve, reject } = Promise.withResolvers<HostSandbox>();
    const stop = (error: CaissonError): void => {
      scheduled?.cancel();
      if (this.#boots.get(id) === boot) this.#boots.delete(id);
      reject(error);
    };
    const boot: Boot = { epoch, done: promise, stop };
    this.#boots.set(id, boot);
    promise.catch(() => undefined); // who asked may be gone
    const { random } = this.#simulation;
    // Some workers stop a boot whose caller left, some go on.
    if (random.chance(0.5)) signal?.addEventListener("abort", () => stop(new CaissonError("cancelled", "simulated: called off")));
    const hangs = this.hangs || random.chance(this.faults.slow * 0.3);
    const scheduled = hangs
      ? undefined
      : this.#simulation.after(this.#simulation.delay(200, 150_000, this.faults.slow), () => {
          this.#boots.delete(id);
          if (random.chance(Math.max(this.faults.fail, this.faults.boot)))
            return reject(new CaissonError("provider_failed", "simulated: it does not boot"));
          const box: Box = { epoch, state: "running", provider: spec.provider, image: spec.image };
          this.boxes.set(id, box);
          this.#simulation.note(() => `host   ${this.workerId} box of ${id} runs, epoch ${epoch}`);
          this.#started(this, id, epoch);
          resolve(this.#tell(id, box));
        });
    return promise;
  }

  #fence(ref: SandboxRef): void {
    if (this.forgetful) return;
    const seen = this.#seen.get(ref.sandboxId) ?? 0;
    if (ref.epoch < seen) throw new CaissonError("lease_lost", `simulated: epoch ${seen} was seen`);
    this.#seen.set(ref.sandboxId, ref.epoch);
  }

  #tell(id: string, box: Box): HostSandbox {
    return {
      sandboxId: id,
      epoch: box.epoch,
      state: box.state,
      provider: box.provider,
      runtime: "sim",
      image: box.image,
      imageDigest: null,
    };
  }

  #takes(usual: number, worst: number): Promise<void> {
    return new Promise((resolve) => void this.#simulation.after(this.#simulation.delay(usual, worst, this.faults.slow), resolve));
  }

  #mayFail(): void {
    if (this.#simulation.random.chance(this.faults.fail)) throw new CaissonError("provider_failed", "simulated: it fails");
  }
}

/** A call of which nothing but the reply matters. */
export function answeredChannel(reply: Promise<Readonly<Record<string, unknown>>>): Channel {
  return {
    reply,
    closed: reply.then(
      () => undefined,
      () => undefined,
    ),
    write: () => Promise.resolve(),
    end: () => undefined,
    cancel: () => undefined,
    [Symbol.asyncIterator]: () => ({ next: () => Promise.resolve({ done: true, value: undefined }) }),
  };
}

/** The way of one control plane to a machine: requests and answers travel, late, twice or never. */
export class SimHost implements SandboxHost {
  readonly workerId: string;
  readonly #machine: SimMachine;
  readonly #process: SimProcess;
  readonly #simulation: Simulation;

  constructor(machine: SimMachine, process: SimProcess, simulation: Simulation) {
    this.workerId = machine.workerId;
    this.#machine = machine;
    this.#process = process;
    this.#simulation = simulation;
  }

  describe(): Promise<WorkerDescription> {
    return this.#request("describe", async () => this.#machine.describe());
  }

  start(spec: StartSandbox, signal?: AbortSignal): Promise<HostSandbox> {
    return this.#request(`start ${spec.sandboxId} ${spec.epoch}`, (again) => this.#machine.start(spec, again ? undefined : signal));
  }

  destroy(ref: SandboxRef): Promise<void> {
    return this.#request(`destroy ${ref.sandboxId} ${ref.epoch}`, () => this.#machine.destroy(ref));
  }

  inspect(id: string): Promise<HostSandbox | undefined> {
    return this.#request(`inspect ${id}`, async () => this.#machine.inspect(id));
  }

  inventory(): Promise<readonly HostSandbox[]> {
    return this.#request("inventory", async () => this.#machine.inventory());
  }

  /** The one thing a simulated guest can do: answer, if its box is there. */
  guest(ref: SandboxRef): ChannelOpener {
    return {
      open: () => {
        const work = async (): Promise<Record<string, never>> => {
          this.#machine.ask(ref);
          return {};
        };
        return answeredChannel(this.#request(`ask ${ref.sandboxId}`, work));
      },
    };
  }

  logs(): Promise<ConsoleChunk> {
    return this.#request("logs", async () => ({ lines: [], end: 0, truncated: false }));
  }

  get images(): ImageHost {
    throw new Error("the orchestrator has no business with images");
  }

  #request<T>(what: string, work: (again: boolean) => Promise<T>): Promise<T> {
    const { random } = this.#simulation;
    const { faults } = this.#machine;
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const transit = (): number => this.#simulation.delay(5, 20_000, faults.slow / 2);
    const answer = (deliver: () => void): void => {
      const lost = this.#machine.partitioned || random.chance(faults.lost);
      const hangs = lost && random.chance(0.5);
      this.#simulation.after(transit(), () => {
        if (!this.#process.alive || hangs) return;
        if (lost) reject(new CaissonError("worker_unavailable", `simulated: no answer to ${what}`));
        else deliver();
      });
    };
    this.#simulation.after(transit(), () => {
      this.#simulation.note(() => `asks   ${this.workerId} ${what}${this.#machine.partitioned ? " (cut off)" : ""}`);
      if (this.#machine.partitioned) return answer(() => undefined);
      work(false).then(
        (value) => answer(() => resolve(value)),
        (error: unknown) => answer(() => reject(error as Error)),
      );
    });
    if (random.chance(faults.duplicate)) {
      this.#simulation.after(random.int(0, 60_000), () => {
        if (this.#machine.partitioned) return;
        this.#simulation.note(() => `asks   ${this.workerId} ${what} (again)`);
        work(true).catch(() => undefined); // nobody hears of a duplicate
      });
    }
    return promise;
  }
}
