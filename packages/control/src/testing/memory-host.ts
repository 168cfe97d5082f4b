import {
  CaissonError,
  NO_CAPABILITIES,
  type ChannelOpener,
  type ConsoleChunk,
  type HostSandbox,
  type ImageHost,
  type ProviderReport,
  type SandboxHost,
  type SandboxRef,
  type StartSandbox,
  type UnreadSandbox,
  type WorkerDescription,
} from "@caisson/contract";

/** A machine in memory. It lives on whoever asks it, and keeps the promises of `SandboxHost`. */
export class MemoryMachine {
  readonly workerId: string;
  readonly boxes: Map<string, HostSandbox> = new Map();
  /** What it tells of sandboxes beside the boxes, and nobody can read. */
  unread: readonly UnreadSandbox[] = [];
  readonly providers: ProviderReport[] = [
    {
      name: "memory",
      tier: "none",
      available: true,
      default: true,
      capabilities: { ...NO_CAPABILITIES, limit_memory: true, limit_cpu: true, images: true },
      runtimes: [],
    },
  ];
  /** Every call that arrived, such as `start sb1 1`. */
  readonly calls: string[] = [];
  /** Called with each start before it does anything. */
  onStart: ((spec: StartSandbox) => Promise<void>) | undefined;
  /** Called with each destroy before it does anything. */
  onDestroy: ((ref: SandboxRef) => Promise<void>) | undefined;
  /** Called with each question about one sandbox before it is answered. */
  onInspect: ((sandboxId: string) => Promise<void>) | undefined;
  readonly #seen = new Map<string, number>();

  constructor(workerId: string) {
    this.workerId = workerId;
  }

  async start(spec: StartSandbox): Promise<HostSandbox> {
    this.calls.push(`start ${spec.sandboxId} ${spec.epoch}`);
    this.#fence(spec);
    await this.onStart?.(spec);
    this.#fence(spec);
    const { sandboxId, epoch, provider, image } = spec;
    const box: HostSandbox = { sandboxId, epoch, state: "running", provider, runtime: null, image, imageDigest: null };
    this.boxes.set(sandboxId, box);
    return box;
  }

  async destroy(ref: SandboxRef): Promise<void> {
    this.calls.push(`destroy ${ref.sandboxId} ${ref.epoch}`);
    await this.onDestroy?.(ref);
    this.#fence(ref);
    if ((this.boxes.get(ref.sandboxId)?.epoch ?? Infinity) <= ref.epoch) this.boxes.delete(ref.sandboxId);
  }

  /** A box that nobody had it start. */
  haunt(sandboxId: string, epoch: number): void {
    this.boxes.set(sandboxId, { sandboxId, epoch, state: "running", provider: "memory", runtime: null, image: "host", imageDigest: null });
  }

  #fence({ sandboxId, epoch }: SandboxRef): void {
    const seen = this.#seen.get(sandboxId) ?? 0;
    if (epoch < seen) throw new CaissonError("lease_lost", `Epoch ${seen} was seen.`);
    this.#seen.set(sandboxId, epoch);
  }
}

/** The way of one control plane to a machine; cut, nothing is heard of calls any more. */
export class MemoryHost implements SandboxHost {
  readonly workerId: string;
  readonly #machine: MemoryMachine;
  cut = false;

  constructor(machine: MemoryMachine) {
    this.workerId = machine.workerId;
    this.#machine = machine;
  }

  describe(): Promise<WorkerDescription> {
    const { providers, workerId } = this.#machine;
    return this.#ask(async () => ({ workerId, version: "1", previewDomain: null, providers }));
  }

  start(spec: StartSandbox): Promise<HostSandbox> {
    return this.#ask(() => this.#machine.start(spec));
  }

  destroy(ref: SandboxRef): Promise<void> {
    return this.#ask(() => this.#machine.destroy(ref));
  }

  inspect(sandboxId: string): Promise<HostSandbox | undefined> {
    return this.#ask(async () => {
      await this.#machine.onInspect?.(sandboxId);
      return this.#machine.boxes.get(sandboxId);
    });
  }

  inventory(): Promise<readonly (HostSandbox | UnreadSandbox)[]> {
    return this.#ask(async () => [...this.#machine.boxes.values(), ...this.#machine.unread]);
  }

  guest(): ChannelOpener {
    throw new Error("there are no agents here");
  }

  logs(): Promise<ConsoleChunk> {
    return this.#ask(async () => ({ lines: [], end: 0, truncated: false }));
  }

  get images(): ImageHost {
    throw new Error("there are no images here");
  }

  async #ask<T>(work: () => Promise<T>): Promise<T> {
    if (this.cut) throw new CaissonError("worker_unavailable", "The link is cut.");
    const answer = await work();
    if (this.cut) throw new CaissonError("worker_unavailable", "The link was cut.");
    return answer;
  }
}
