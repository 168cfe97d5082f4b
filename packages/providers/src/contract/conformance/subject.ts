import { release } from "node:os";
import { isCaissonError, newId, systemRandom, type Capability, type Capabilities, type ProviderReport } from "@caisson/contract";
import { GuestClient, type AttachedProcess, type Exit, type ProcessOutput, type ProcessSpec } from "@caisson/guest";
import { Link } from "@caisson/link";
import type { TestContext } from "vitest";
import type { Box, BoxSpec, Provider } from "../provider.ts";
import type { BoxChanges, ConformanceHarness } from "./harness.ts";

/** A booted box and a client of its agent. */
export interface Booted {
  readonly box: Box;
  readonly spec: BoxSpec;
  readonly guest: GuestClient;
  readonly link: Link;
}

/** All that a process gave. */
export interface Outcome {
  readonly out: Buffer;
  readonly err: Buffer;
  readonly exit: Exit;
  readonly gaps: readonly (ProcessOutput & { type: "gap" })[];
}

/** The provider under test with what the cases need. */
export class Subject {
  readonly harness: ConformanceHarness;
  readonly report: ProviderReport;
  readonly capabilities: Capabilities;
  /** The instance that counts now; `restart` replaces it. */
  provider: Provider;
  readonly #links = new Set<Link>();
  readonly #boxes = new Map<string, Box>();
  #shared: Promise<Booted> | undefined;

  constructor(harness: ConformanceHarness, report: ProviderReport) {
    this.harness = harness;
    this.report = report;
    this.provider = harness.provider;
    const runtime = report.runtimes.find((candidate) => candidate.name === harness.runtime);
    this.capabilities = runtime?.capabilities ?? report.capabilities;
  }

  /** Skips the case where the provider honestly lacks a capability. */
  needs(context: TestContext, capability: Capability): void {
    const reasons: Readonly<Partial<Record<string, string>>> = this.report.limits ?? {};
    context.skip(!this.capabilities[capability], `no ${capability}: ${reasons[capability] ?? "its report says so"}`);
  }

  /** Skips the case for a provider that has no wall and no real processes, and says so by its tier. */
  needsWall(context: TestContext): void {
    context.skip(this.report.tier === "none", "tier none: it isolates nothing and runs no real processes");
  }

  /** Skips the case where the box has a kernel of its own: what is refused there protects nothing. */
  async needsHostKernel(context: TestContext): Promise<void> {
    this.needsWall(context);
    const inside = await this.kernel();
    context.skip(inside !== release(), `the box has a kernel of its own (${inside})`);
  }

  /** Whether the box runs on a kernel of its own, whose devices are not the machine's. */
  async hasOwnKernel(): Promise<boolean> {
    return (await this.kernel()) !== release();
  }

  async kernel(): Promise<string> {
    return (await this.text((await this.shared()).guest, "uname -r")).trim();
  }

  spec(changes: BoxChanges = {}): BoxSpec {
    const { rootfs, runtime, clock } = this.harness;
    const base = { sandboxId: newId("sandbox", clock.now(), systemRandom), epoch: 1, rootfs, resources: {}, env: {} };
    return { ...base, hostname: "box", network: "none", ...(runtime === undefined ? {} : { runtime }), ...changes };
  }

  /** Boots a box; it is destroyed after the suite at the latest. */
  async boot(changes: BoxChanges = {}): Promise<Booted> {
    const spec = this.spec(changes);
    const box = await this.start(spec);
    return { box, spec, ...(await this.connect(box)) };
  }

  async start(spec: BoxSpec): Promise<Box> {
    const box = await this.provider.start(spec);
    this.#boxes.set(`${box.sandboxId}/${box.epoch}`, box);
    return box;
  }

  /** One box that cases share when they leave it as they found it. */
  shared(): Promise<Booted> {
    this.#shared ??= this.boot({ env: { BASE_VARIABLE: "from the box" } });
    return this.#shared;
  }

  async connect(box: Box): Promise<{ guest: GuestClient; link: Link }> {
    const stream = await this.provider.connect(box.handle);
    const link = new Link(stream, { role: "dialler", clock: this.harness.clock });
    this.#links.add(link);
    void link.closed.then(() => this.#links.delete(link));
    return { guest: new GuestClient(link, this.harness.clock), link };
  }

  /** Runs a process to its end. */
  async run(guest: GuestClient, spec: Parameters<GuestClient["exec"]>[0] | string): Promise<Outcome> {
    return drain(await guest.exec(typeof spec === "string" ? { command: spec } : spec));
  }

  /** The text a command prints; a failure shows with its stderr. */
  async text(guest: GuestClient, spec: ProcessSpec | string): Promise<string> {
    const { out, err, exit } = await this.run(guest, spec);
    if (exit.code !== 0) throw new Error(`${JSON.stringify(spec)} ended with ${exit.code ?? exit.signal}: ${err.toString()}`);
    return out.toString();
  }

  async destroy(booted: { readonly box: Box; readonly link?: Link }): Promise<void> {
    booted.link?.close();
    await this.provider.destroy(booted.box.handle);
    this.#boxes.delete(`${booted.box.sandboxId}/${booted.box.epoch}`);
  }

  /** Destroys every box that cases left. */
  async cleanUp(): Promise<void> {
    for (const link of this.#links) link.close();
    for (const box of this.#boxes.values()) await this.provider.destroy(box.handle);
    this.#boxes.clear();
    this.#shared = undefined;
  }
}

/** Takes everything a process gives; throws when offsets do not follow on each other. */
export async function drain(process: AttachedProcess): Promise<Outcome> {
  const parts: { stdout: Uint8Array[]; stderr: Uint8Array[] } = { stdout: [], stderr: [] };
  const next: { stdout?: number; stderr?: number } = {};
  const gaps: (ProcessOutput & { type: "gap" })[] = [];
  for await (const item of process) {
    if (item.type === "exit") return { out: Buffer.concat(parts.stdout), err: Buffer.concat(parts.stderr), exit: item.exit, gaps };
    const [from, to] = item.type === "gap" ? [item.from, item.to] : [item.offset, item.offset + item.bytes.length];
    if ((next[item.stream] ?? from) !== from) throw new Error(`${item.stream} continues at ${from} instead of ${next[item.stream]}`);
    next[item.stream] = to;
    if (item.type === "gap") gaps.push(item);
    else parts[item.stream].push(item.bytes);
  }
  throw new Error("The output ended without an exit.");
}

/** The code a promise fails with; `no error` when it does not. */
export async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return "no error";
  } catch (error) {
    return isCaissonError(error) ? error.code : String(error);
  }
}

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

/** Texts as a byte source. */
export async function* bytesOf(...pieces: (string | Uint8Array)[]): AsyncGenerator<Uint8Array> {
  for (const piece of pieces) yield typeof piece === "string" ? Buffer.from(piece) : piece;
}

/** A file's whole content as text. */
export async function readText(guest: GuestClient, path: string, user?: string): Promise<string> {
  const { content } = await guest.readFile(path, user === undefined ? {} : { user });
  return Buffer.concat(await collect(content)).toString();
}
