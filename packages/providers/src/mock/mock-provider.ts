import type { Duplex } from "node:stream";
import {
  CaissonError,
  NO_CAPABILITIES,
  type Capabilities,
  type ConsoleChunk,
  type ConsoleRange,
  type ProviderReport,
  type Resources,
} from "@caisson/contract";
import { consolePage } from "../contract/console-page.ts";
import type { Box, BoxSpec, BoxUsage, Handle, Provider, ProviderContext } from "../contract/provider.ts";
import type { MockBox, MockMachine } from "./mock-machine.ts";

const CAPABILITIES: Capabilities = { ...NO_CAPABILITIES, users: true, images: true, survives_restart: true };
const NOTHING_ENFORCED = "The mock runs in the server's own memory and enforces no limit.";
const LIMITS: readonly (readonly [keyof Resources, string])[] = [
  ["memoryMb", "memory_mb"],
  ["vcpus", "vcpus"],
  ["pids", "pids"],
  ["diskMb", "disk_mb"],
];

/** Boxes in memory: a small shell and a file tree behind the real protocol. It isolates nothing and says so. */
export class MockProvider implements Provider {
  readonly name = "mock";
  readonly tier = "none";
  readonly ownFiles = true;
  readonly #machine: MockMachine;
  readonly #context: Pick<ProviderContext, "clock" | "log">;
  readonly #starting = new Map<string, Promise<unknown>>();

  /** The machine outlives the provider, as a real one does. */
  constructor(machine: MockMachine, context: Pick<ProviderContext, "clock" | "log">) {
    this.#machine = machine;
    this.#context = context;
  }

  probe(): Promise<ProviderReport> {
    return Promise.resolve({
      name: this.name,
      tier: this.tier,
      available: true,
      reason:
        "For tests and demonstrations only: it isolates nothing, understands a few shell commands, and has the same few files whatever the image is called.",
      capabilities: CAPABILITIES,
      limits: {
        limit_memory: NOTHING_ENFORCED,
        limit_cpu: NOTHING_ENFORCED,
        limit_pids: NOTHING_ENFORCED,
        limit_disk: NOTHING_ENFORCED,
      },
      runtimes: [],
      probed_at: new Date(this.#context.clock.now()).toISOString(),
    });
  }

  async start(spec: BoxSpec, signal?: AbortSignal): Promise<Box> {
    for (const [field, name] of LIMITS) if (spec.resources[field] !== undefined) throw unsupported(`The mock cannot enforce ${name}.`);
    if (spec.runtime !== undefined) throw unsupported("The mock has no runtimes to choose from.");
    const before = this.#starting.get(spec.sandboxId) ?? Promise.resolve();
    const mine = before.catch(() => undefined).then(() => this.#start(spec, signal));
    this.#starting.set(spec.sandboxId, mine);
    try {
      return await mine;
    } finally {
      if (this.#starting.get(spec.sandboxId) === mine) this.#starting.delete(spec.sandboxId);
    }
  }

  recover(handle: Handle): Promise<Box | undefined> {
    const box = this.#find(handle);
    return Promise.resolve(box === undefined ? undefined : describe(box));
  }

  list(): Promise<readonly Box[]> {
    return Promise.resolve([...this.#machine.boxes.values()].map(describe));
  }

  async connect(handle: Handle): Promise<Duplex> {
    const box = this.#find(handle);
    const sandboxId = box?.spec.sandboxId ?? "";
    const { connectError } = this.#machine.faultsFor(sandboxId);
    if (connectError !== undefined) throw connectError;
    if (box === undefined || box.status !== "running" || box.guest.ended)
      throw new CaissonError("agent_unreachable", "The box does not run.");
    return this.#machine.dial(box);
  }

  async stop(handle: Handle): Promise<void> {
    const box = this.#find(handle);
    if (box !== undefined) this.#machine.halt(box, "it was stopped");
  }

  async destroy(handle: Handle): Promise<void> {
    const { sandboxId, epoch } = read(handle);
    const box = this.#machine.boxes.get(sandboxId);
    if (box !== undefined && box.spec.epoch <= epoch) this.#machine.remove(sandboxId);
  }

  async usage(handle: Handle): Promise<BoxUsage> {
    const box = this.#find(handle);
    return { memoryBytes: null, cpuMs: null, pids: box === undefined ? null : box.guest.running + 1, oomKills: null };
  }

  async console(handle: Handle, range: ConsoleRange): Promise<ConsoleChunk> {
    const bytes = Buffer.from((this.#find(handle)?.console ?? []).map((line) => `${line}\n`).join(""));
    return consolePage({ size: bytes.length, read: (offset, length) => bytes.subarray(offset, offset + length) }, range);
  }

  async #start(spec: BoxSpec, signal: AbortSignal | undefined): Promise<Box> {
    const { sandboxId, epoch } = spec;
    const highest = this.#machine.epochs.get(sandboxId) ?? 0;
    if (epoch < highest)
      throw new CaissonError("lease_lost", `Epoch ${highest} of ${sandboxId} was here; ${epoch} comes too late.`, {
        detail: { epoch, current: highest },
      });
    this.#machine.epochs.set(sandboxId, epoch);
    const before = this.#machine.boxes.get(sandboxId);
    if (before?.spec.epoch === epoch && before.status === "running" && !before.guest.ended) return describe(before);
    if (before !== undefined && before.spec.epoch < epoch) this.#machine.remove(sandboxId);
    const { startDelayMs, startError } = this.#machine.faultsFor(sandboxId);
    if (startDelayMs !== undefined) await this.#context.clock.sleep(startDelayMs, signal);
    signal?.throwIfAborted();
    if (startError !== undefined) throw startError;
    this.#context.log("debug", "mock box started", { sandboxId, epoch });
    return describe(this.#machine.boot(spec));
  }

  #find(handle: Handle): MockBox | undefined {
    const { sandboxId, epoch } = read(handle);
    const box = this.#machine.boxes.get(sandboxId);
    return box?.spec.epoch === epoch ? box : undefined;
  }
}

function unsupported(message: string): CaissonError {
  return new CaissonError("unsupported", message);
}

function read(handle: Handle): { sandboxId: string; epoch: number } {
  const { sandboxId, epoch } = handle.state;
  if (handle.provider !== "mock" || typeof sandboxId !== "string" || typeof epoch !== "number")
    throw new CaissonError("internal", "This handle is not one of the mock's.");
  return { sandboxId, epoch };
}

function describe(box: MockBox): Box {
  const { sandboxId, epoch } = box.spec;
  const status = box.guest.ended ? "stopped" : box.status;
  const handle: Handle = { version: 1, provider: "mock", state: { sandboxId, epoch } };
  const base = { sandboxId, epoch, handle, runtime: null, status } as const;
  return box.reason === undefined ? base : { ...base, reason: box.reason };
}
