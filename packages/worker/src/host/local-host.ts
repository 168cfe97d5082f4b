import { join } from "node:path";
import {
  CaissonError,
  SANDBOX_ID_PATTERN,
  toCaissonError,
  VERSION,
  type ChannelOpener,
  type Clock,
  type ConsoleChunk,
  type ConsoleRange,
  type HostSandbox,
  type HostUsage,
  type PauseOutcome,
  type ProviderReport,
  type Random,
  type SandboxHost,
  type SandboxRef,
  type StartSandbox,
  type WorkerDescription,
} from "@caisson/contract";
import { failedChannel, ReconnectingOpener } from "@caisson/link";
import type { Provider, ProviderContext } from "@caisson/providers";
import { abortError, withDeadline } from "../durable/deadline.ts";
import { KeyedQueue } from "../durable/keyed-queue.ts";
import { SharedWork } from "../durable/shared-work.ts";
import type { ImageStore } from "../images/image-store.ts";
import { BoxLifecycle } from "./box-lifecycle.ts";
import type { BoxRecord } from "./box-record.ts";
import { BoxSurvey } from "./box-survey.ts";
import { FrozenBoxes } from "./frozen-boxes.ts";
import { GuestRoutes, type RouteFactory } from "./guest-routes.ts";
import { describeBox, type HostDeadlines, type HostParts } from "./host-parts.ts";
import { ProviderReports } from "./provider-reports.ts";
import { RecordStore } from "./record-store.ts";

const DEADLINES: HostDeadlines = { start: 90_000, hello: 10_000, destroy: 60_000, list: 8_000, ask: 15_000, health: 5_000 };

/** What a host is made with. */
export interface LocalHostOptions {
  readonly workerId: string;
  /** Folder for what is kept; records live in `<dataDir>/worker/records`. Made when missing. */
  readonly dataDir: string;
  /** The enabled providers, best first. */
  readonly providers: readonly Provider[];
  readonly images: ImageStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: ProviderContext["log"];
  /** Makes the shared way to one agent. Default: a link that is dialled when needed, and again after a break. */
  readonly route?: RouteFactory;
  /** Domain below which ports of sandboxes are shown. Default: none. */
  readonly previewDomain?: string;
  /** Called when a box changed by itself: it stopped, fell silent, answers again, or was frozen or thawed past this host. Default: nobody is told. */
  readonly changed?: (ref: SandboxRef) => void;
  /** Time between health checks, in ms; 0 for none. Default: 10 000. */
  readonly healthEveryMs?: number;
  /** Time between removals of what is unused, in ms; 0 for none. Default: 600 000. */
  readonly sweepEveryMs?: number;
  /** Times to wait; each has a default. */
  readonly deadlines?: Partial<HostDeadlines>;
}

/** A box as its worker knows it without asking anybody. */
export interface PresentBox {
  readonly epoch: number;
  readonly state: HostSandbox["state"];
  /** Limits it was made with; null for none. */
  readonly vcpus: number | null;
  readonly memoryMb: number | null;
}

interface Starting {
  readonly epoch: number;
  readonly controller: AbortController;
}

/** This machine as a worker. Call `open` first. It keeps no box alive and stops none: boxes outlive it. */
export class LocalHost implements SandboxHost {
  readonly workerId: string;
  readonly images: ImageStore;
  readonly #options: LocalHostOptions;
  readonly #parts: HostParts;
  readonly #lifecycle: BoxLifecycle;
  readonly #survey: BoxSurvey;
  readonly #reports: ProviderReports;
  readonly #frozen: FrozenBoxes;
  #draining = false;
  readonly #starts = new SharedWork<BoxRecord>();
  /** Starts under way, also those that wait for their turn. */
  readonly #starting = new Map<string, Starting>();
  /** Epochs claimed by calls under way, before they are on disk. */
  readonly #claimed = new Map<string, number>();
  readonly #startsUnderWay = new Set<Promise<unknown>>();
  readonly #pausing = new KeyedQueue();
  readonly #closing = new AbortController();
  readonly #loops: Promise<void>[] = [];
  #opened: Promise<void> | undefined;

  constructor(options: LocalHostOptions) {
    this.workerId = options.workerId;
    this.images = options.images;
    this.#options = options;
    const { clock, log } = options;
    this.#parts = {
      providers: new Map(options.providers.map((provider) => [provider.name, provider])),
      images: options.images,
      records: new RecordStore(join(options.dataDir, "worker", "records"), clock, log),
      routes: new GuestRoutes(
        options.route ?? ((connect, broke) => new ReconnectingOpener({ connect, broke, clock })),
        (sandboxId) => void this.#survey.suspect(sandboxId, this.#closing.signal),
      ),
      conditions: new Map(),
      changed: options.changed ?? (() => undefined),
      queue: new KeyedQueue(),
      clock,
      log,
      deadlines: { ...DEADLINES, ...options.deadlines },
    };
    this.#lifecycle = new BoxLifecycle(this.#parts);
    this.#survey = new BoxSurvey(this.#parts, this.#lifecycle);
    this.#frozen = new FrozenBoxes(this.#parts, options.dataDir);
    this.#reports = new ProviderReports(options.providers, clock, log);
  }

  /** Takes over what an earlier run left, and begins to watch. The providers are then probed in the background. Idempotent. */
  open(signal?: AbortSignal): Promise<void> {
    this.#opened ??= this.#recover(signal);
    return this.#opened;
  }

  /** Closes the links and stops watching. Boxes live on; a start under way is called off. Idempotent. */
  async close(): Promise<void> {
    const reason = new CaissonError("shutting_down", "The worker is shutting down.");
    this.#closing.abort(reason);
    for (const { controller } of this.#starting.values()) controller.abort(reason);
    await Promise.all(this.#loops);
    const { clock, deadlines, queue, records, routes, log } = this.#parts;
    const doing = "waiting for changes under way";
    await withDeadline({ clock, ms: deadlines.destroy, doing }, () => queue.idle()).catch((error: unknown) =>
      log("warn", "closed while changes were under way", { error: toCaissonError(error).message }),
    );
    await routes.close();
    await records.close();
  }

  async describe(): Promise<WorkerDescription> {
    await this.#ready();
    const previewDomain = this.#options.previewDomain ?? null;
    return { workerId: this.workerId, version: VERSION, previewDomain, providers: await this.#reports.get() };
  }

  /** Probes all providers anew. */
  async refresh(): Promise<readonly ProviderReport[]> {
    await this.#ready();
    return this.#reports.refresh();
  }

  async start(spec: StartSandbox, signal?: AbortSignal): Promise<HostSandbox> {
    await this.#ready();
    if (!SANDBOX_ID_PATTERN.test(spec.sandboxId))
      throw new CaissonError("invalid_request", `${JSON.stringify(spec.sandboxId)} is not a sandbox id.`);
    const provider = this.#parts.providers.get(spec.provider);
    if (provider === undefined) throw new CaissonError("provider_not_found", `No provider is called ${spec.provider} here.`);
    // What is called off before it begins makes no claim: nobody would let go of it.
    if (signal?.aborted === true) throw abortError(signal, "starting a sandbox");
    this.#takesNew(spec);
    this.#claim(spec);
    const older = this.#starting.get(spec.sandboxId);
    if (older !== undefined && older.epoch < spec.epoch) older.controller.abort(leaseLost(spec.sandboxId, spec.epoch));
    const key = `${spec.sandboxId} ${spec.epoch}`;
    const started = this.#starts.run(key, (last) => this.#startOnce(spec, provider, last), signal);
    this.#startsUnderWay.add(started);
    const record = await started.finally(() => this.#startsUnderWay.delete(started));
    return describeBox(record, this.#parts.conditions.get(spec.sandboxId));
  }

  async destroy(ref: SandboxRef, signal?: AbortSignal): Promise<void> {
    await this.#ready();
    if (!SANDBOX_ID_PATTERN.test(ref.sandboxId)) return;
    this.#claim(ref);
    this.#starting
      .get(ref.sandboxId)
      ?.controller.abort(new CaissonError("sandbox_destroyed", `The sandbox ${ref.sandboxId} was destroyed while it was started.`));
    const { clock, deadlines, queue } = this.#parts;
    // A caller that goes away does not stop it: what was begun is finished.
    const ended = queue.run(ref.sandboxId, () => this.#lifecycle.end(ref.sandboxId, ref.epoch)).finally(() => this.#unclaim(ref));
    const doing = "destroying a sandbox";
    await withDeadline({ clock, ms: deadlines.destroy + deadlines.start, doing, signal }, () => ended);
  }

  async inspect(sandboxId: string, signal?: AbortSignal): Promise<HostSandbox | undefined> {
    await this.#ready();
    const { records, conditions, log } = this.#parts;
    const record = records.box(sandboxId);
    if (record === undefined) return undefined;
    await this.#survey.look(record, signal).catch((error: unknown) => {
      log("warn", "a provider does not tell how a box does", { sandbox: sandboxId, error: toCaissonError(error).message });
    });
    const now = records.box(sandboxId);
    return now === undefined || now.phase === "starting" ? undefined : describeBox(now, conditions.get(sandboxId));
  }

  async inventory(signal?: AbortSignal): Promise<readonly HostSandbox[]> {
    await this.#ready();
    return this.#survey.inventory(signal);
  }

  /** What is known of a sandbox that is here, without asking its provider or agent; undefined before it runs. */
  present(sandboxId: string): PresentBox | undefined {
    const record = this.#parts.records.box(sandboxId);
    if (record === undefined || record.phase === "starting" || this.#closing.signal.aborted) return undefined;
    const { state } = describeBox(record, this.#parts.conditions.get(sandboxId));
    const { vcpus = null, memoryMb = null } = record.spec?.resources ?? {};
    return { epoch: record.epoch, state, vcpus, memoryMb };
  }

  guest(ref: SandboxRef): ChannelOpener {
    return {
      open: (method, params, options) => {
        try {
          this.#owned(ref);
          const route = this.#parts.routes.get(ref.sandboxId);
          if (route === undefined) throw new CaissonError("agent_unreachable", `The sandbox ${ref.sandboxId} does not run.`);
          return route.open(method, params, options);
        } catch (error) {
          return failedChannel(toCaissonError(error));
        }
      },
    };
  }

  async usage(ref: SandboxRef, signal?: AbortSignal): Promise<HostUsage> {
    await this.#ready();
    const { handle, provider: name } = this.#owned(ref);
    const provider = this.#parts.providers.get(name);
    if (handle === null || provider === undefined) return { cpuMs: null };
    const { clock, deadlines } = this.#parts;
    const doing = "reading what a box uses";
    const { cpuMs } = await withDeadline({ clock, ms: deadlines.ask, doing, signal }, (limited) => provider.usage(handle, limited));
    return { cpuMs: cpuMs === null ? null : Math.round(cpuMs) };
  }

  async logs(ref: SandboxRef, range: ConsoleRange, signal?: AbortSignal): Promise<ConsoleChunk> {
    await this.#ready();
    const { handle, provider: name } = this.#owned(ref);
    const provider = this.#parts.providers.get(name);
    if (handle === null || provider === undefined) return { lines: [], end: 0, truncated: false };
    const { clock, deadlines } = this.#parts;
    const doing = "reading a box's console";
    return withDeadline({ clock, ms: deadlines.ask, doing, signal }, (limited) => provider.console(handle, range, limited));
  }

  /** Freezes every box that runs, and starts none until `resumeAll`; both hold across a restart. */
  async pauseAll(signal?: AbortSignal): Promise<PauseOutcome> {
    await this.#ready();
    return this.#pausing.run("all", () => this.#frozen.pause(signal));
  }

  /** Thaws what `pauseAll` froze. */
  async resumeAll(signal?: AbortSignal): Promise<PauseOutcome> {
    await this.#ready();
    return this.#pausing.run("all", () => this.#frozen.resume(signal));
  }

  async drain(draining: boolean): Promise<void> {
    await this.#ready();
    this.#draining = draining;
  }

  /** Whether `drain` was asked for. */
  get draining(): boolean {
    return this.#draining;
  }

  /** How many boxes are here, those that are being started and those that stopped included; at no cost. */
  get count(): number {
    return this.#parts.records.boxCount;
  }

  /** Resolves when no start is under way, or with the signal. */
  async startsEnded(signal: AbortSignal): Promise<void> {
    const ended = Promise.allSettled(this.#startsUnderWay);
    await Promise.race([ended, new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }))]);
  }

  async #recover(signal: AbortSignal | undefined): Promise<void> {
    await Promise.all([this.#parts.records.load(), this.images.open()]);
    await this.#frozen.load();
    await this.#survey.recover(signal);
    // After the look at the machine, which would take a trial under way for one that a crash cut short.
    void this.#reports.refresh();
    const { healthEveryMs = 10_000, sweepEveryMs = 600_000 } = this.#options;
    this.#every(healthEveryMs, "checking health", (ending) => this.#survey.checkHealth(ending));
    this.#every(sweepEveryMs, "removing what is unused", async () => {
      await this.images.sweep();
      await this.#parts.records.prune();
    });
  }

  async #startOnce(spec: StartSandbox, provider: Provider, last: AbortSignal): Promise<BoxRecord> {
    const { sandboxId, epoch } = spec;
    const controller = new AbortController();
    const starting: Starting = { epoch, controller };
    this.#starting.set(sandboxId, starting);
    // `last` is of this start alone, and goes with it: what `AbortSignal.any` costs is not needed.
    last.addEventListener("abort", () => controller.abort(last.reason), { once: true });
    const { signal } = controller;
    try {
      return await this.#parts.queue.run(sandboxId, async () => {
        if (signal.aborted) throw signal.reason as Error;
        const before = this.#parts.records.get(sandboxId);
        const seen = Math.max(before?.epoch ?? 0, this.#claimed.get(sandboxId) ?? 0);
        if (epoch < seen) throw leaseLost(sandboxId, seen);
        if (before?.epoch === epoch && (before.kind === "box" ? before.phase === "stopped" : before.destroyed))
          throw new CaissonError("sandbox_destroyed", `The sandbox ${sandboxId} was started with this epoch before, and has ended.`);
        if (before?.kind === "box" && before.epoch === epoch && before.phase === "running") return before;
        if (before?.kind === "box") await this.#lifecycle.end(sandboxId, before.epoch);
        return await this.#lifecycle.start(spec, provider, signal);
      });
    } finally {
      if (this.#starting.get(sandboxId) === starting) this.#starting.delete(sandboxId);
      this.#unclaim(spec);
    }
  }

  /** Refuses what is not here yet while nothing new is taken. */
  #takesNew({ sandboxId, epoch }: SandboxRef): void {
    const before = this.#parts.records.box(sandboxId);
    if (before?.epoch === epoch || this.#starting.get(sandboxId)?.epoch === epoch) return;
    if (this.#draining) throw new CaissonError("no_capacity", `The worker ${this.workerId} drains and takes no new sandboxes.`);
    if (this.#frozen.paused)
      throw new CaissonError("no_capacity", `The worker ${this.workerId} froze its sandboxes until a control plane is back.`);
  }

  /** Refuses an epoch lower than one seen, and makes this one seen. */
  #claim(ref: SandboxRef): void {
    const seen = Math.max(this.#parts.records.get(ref.sandboxId)?.epoch ?? 0, this.#claimed.get(ref.sandboxId) ?? 0);
    if (ref.epoch < seen) throw leaseLost(ref.sandboxId, seen);
    this.#claimed.set(ref.sandboxId, ref.epoch);
  }

  /** Lets go of a claim when its call has ended: what must be remembered is in the records by now. */
  #unclaim(ref: SandboxRef): void {
    if (this.#claimed.get(ref.sandboxId) === ref.epoch) this.#claimed.delete(ref.sandboxId);
  }

  /** The record of a sandbox that the caller's epoch owns. */
  #owned(ref: SandboxRef): BoxRecord {
    const record = this.#parts.records.box(ref.sandboxId);
    if (record === undefined) throw new CaissonError("sandbox_not_found", `The sandbox ${ref.sandboxId} is not on this worker.`);
    if (record.epoch !== ref.epoch) throw leaseLost(ref.sandboxId, record.epoch);
    return record;
  }

  async #ready(): Promise<void> {
    if (this.#closing.signal.aborted) throw this.#closing.signal.reason as CaissonError;
    await this.open();
  }

  #every(ms: number, doing: string, work: (signal: AbortSignal) => Promise<void>): void {
    if (ms === 0) return;
    const { clock, log } = this.#parts;
    const { signal } = this.#closing;
    const loop = async (): Promise<void> => {
      while (!signal.aborted) {
        try {
          await clock.sleep(ms, signal);
          await work(signal);
        } catch (error) {
          if (!signal.aborted) log("error", `failed: ${doing}`, { error: toCaissonError(error).message });
        }
      }
    };
    this.#loops.push(loop());
  }
}

function leaseLost(sandboxId: string, owner: number): CaissonError {
  return new CaissonError("lease_lost", `The sandbox ${sandboxId} is owned by the epoch ${owner}.`, { detail: { epoch: owner } });
}
