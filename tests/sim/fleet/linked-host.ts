import type {
  ChannelOpener,
  ConsoleChunk,
  HostSandbox,
  ImageHost,
  SandboxHost,
  SandboxRef,
  StartSandbox,
  WorkerDescription,
} from "@caisson/contract";
import { answeredChannel } from "../sim-host.ts";
import type { SimProcess } from "../sim-process.ts";
import type { Simulation } from "../simulation.ts";
import type { Connection } from "./connection.ts";
import type { SimWorker } from "./sim-worker.ts";
import type { Lossy, Wire } from "./wire.ts";

/** A worker as a control plane sees it over one connection: its answers may be late or lost, and its calls may come twice. */
export class LinkedHost implements SandboxHost {
  readonly workerId: string;
  readonly #worker: SimWorker;
  readonly #connection: Connection;
  readonly #simulation: Simulation;
  readonly #wire: Wire;

  constructor(worker: SimWorker, connection: Connection, simulation: Simulation, wire: Wire) {
    this.#wire = wire;
    this.workerId = worker.id;
    this.#worker = worker;
    this.#connection = connection;
    this.#simulation = simulation;
  }

  describe(signal?: AbortSignal): Promise<WorkerDescription> {
    return this.#call("describe", async () => this.#worker.machine.describe(), signal);
  }

  start(spec: StartSandbox, signal?: AbortSignal): Promise<HostSandbox> {
    return this.#call(`start ${spec.sandboxId} ${spec.epoch}`, (inner) => this.#worker.machine.start(spec, inner), signal);
  }

  destroy(ref: SandboxRef, signal?: AbortSignal): Promise<void> {
    return this.#call(`destroy ${ref.sandboxId} ${ref.epoch}`, () => this.#worker.machine.destroy(ref), signal);
  }

  inspect(id: string, signal?: AbortSignal): Promise<HostSandbox | undefined> {
    return this.#call(`inspect ${id}`, async () => this.#unlessLost("inspect", this.#worker.machine.inspect(id)), signal);
  }

  inventory(signal?: AbortSignal): Promise<readonly HostSandbox[]> {
    const work = async (): Promise<readonly HostSandbox[]> => {
      const truth = this.#worker.machine.inventory();
      return this.#unlessLost("inventory", this.#worker.lies?.(truth) ?? truth);
    };
    return this.#call("inventory", work, signal);
  }

  guest(ref: SandboxRef): ChannelOpener {
    return {
      open: (_method, _params, options) => {
        const work = async (): Promise<Record<string, never>> => {
          this.#worker.machine.ask(ref);
          return {};
        };
        const reply = this.#call(`ask ${ref.sandboxId}`, work, options?.signal);
        reply.catch(() => undefined); // whoever opened it may have left
        return answeredChannel(reply);
      },
    };
  }

  logs(): Promise<ConsoleChunk> {
    return this.#call("logs", async () => ({ lines: [], end: 0, truncated: false }));
  }

  get images(): ImageHost {
    throw new Error("the orchestrator has no business with images");
  }

  /** An answer, or none ever. */
  #unlessLost<T>(kind: Lossy, answer: T): T | Promise<never> {
    return this.#wire.loses(kind) ? new Promise(() => undefined) : answer;
  }

  #call<T>(what: string, work: (signal: AbortSignal) => Promise<T>, signal?: AbortSignal): Promise<T> {
    const { random } = this.#simulation;
    const { faults } = this.#worker.machine;
    const life = this.#worker.process;
    if (random.chance(faults.duplicate)) {
      // What was sent again over another way; never to a run of the worker that was not there yet.
      this.#simulation.after(random.int(0, 60_000), () => {
        if (life === undefined || this.#worker.process !== life) return;
        life.deliver(() => {
          this.#simulation.note(() => `asks   ${this.workerId} ${what} (again)`);
          work(new AbortController().signal).catch(() => undefined); // nobody hears of a duplicate
        });
      });
    }
    return this.#connection.call(
      "control",
      what,
      async (inner) => {
        // A worker that is busy elsewhere answers late.
        const busy = random.chance(faults.slow / 2) ? random.int(100, 60_000) : 0;
        const before = random.chance(0.5);
        if (busy > 0 && before) await this.#wait(busy, life);
        const result = await work(inner);
        if (busy > 0 && !before) await this.#wait(busy, life);
        return result;
      },
      signal,
    );
  }

  #wait(ms: number, life: SimProcess | undefined): Promise<void> {
    return new Promise((resolve) => void this.#simulation.after(ms, () => life?.deliver(resolve)));
  }
}
