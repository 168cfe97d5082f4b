import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import process from "node:process";
import type { Duplex } from "node:stream";
import { CaissonError, type ConsoleChunk, type ConsoleRange, type ProviderReport, type RuntimeReport, type Tier } from "@caisson/contract";
import { Link } from "@caisson/link";
import { cgroupUsage, freezeGroups, isFrozen, thawGroups } from "../cgroups/cgroup-control.ts";
import { CgroupTree } from "../cgroups/cgroup-tree.ts";
import type { Box, BoxSpec, BoxUsage, Handle, Provider, ProviderContext } from "../contract/provider.ts";
import { countProcesses } from "../supervisor/count-processes.ts";
import { bootId } from "../supervisor/process-identity.ts";
import { startSupervisor } from "../supervisor/supervisor.ts";
import type { IdRange, MountStep } from "../supervisor/supervisor-arguments.ts";
import { chooseRuntime, refuseUnenforceable } from "./admission.ts";
import { SOCKET_NAME } from "./agent-arguments.ts";
import { awaitBoundSocket, BOUND_SOCKET_FOLDER, takeBoundSocket } from "./bound-socket.ts";
import { BoxQueue } from "./box-queue.ts";
import { readBoxRecord, writeBoxRecord, type BoxRecord } from "./box-record.ts";
import { observeBox, supervisedBy } from "./box-status.ts";
import { connectAgent } from "./connect-agent.ts";
import { endBox } from "./end-box.ts";
import { Epochs } from "./epochs.ts";
import { IdRanges, RANGE_SIZE } from "./id-ranges.ts";
import { readConsole } from "./read-console.ts";
import { removeFolder } from "./removal.ts";
import { makeLayerFolders, planRootFs } from "./rootfs-plan.ts";
import { findStage } from "./stage.ts";
import { RUNTIME_STATE, STAGED, type Ground, type Launch, type Technology } from "./technology.ts";
import { makeTrialSkeleton } from "./trial-skeleton.ts";

const HANDLE_VERSION = 1;
const START_LIMIT_MS = 15_000;
const STOP_LIMIT_MS = 5_000;

/** A provider whose boxes each live below a supervisor of their own. What is special about it is its technology. */
export class SupervisedProvider implements Provider {
  readonly name: string;
  readonly tier: Tier;
  readonly #technology: Technology;
  readonly #context: ProviderContext;
  readonly #dir: string;
  readonly #queue = new BoxQueue();
  readonly #epochs = new Epochs();
  readonly #ids: IdRanges;
  readonly #endings = new Map<string, Promise<void>>();
  /** Boxes that a probe boots just now; whoever asks for the boxes of the worker must not see them as orphans. */
  readonly #trials = new Set<string>();
  #ground: Ground | undefined;
  #report: Promise<ProviderReport> | undefined;

  constructor(technology: Technology, context: ProviderContext) {
    this.name = technology.name;
    this.tier = technology.tier;
    this.#technology = technology;
    this.#context = context;
    this.#dir = resolve(context.dir);
    this.#ids = new IdRanges(context.random);
    mkdirSync(this.#dir, { recursive: true, mode: 0o700 });
    for (const name of this.#folders()) this.#claim(readBoxRecord(join(this.#dir, name)));
  }

  probe(signal?: AbortSignal): Promise<ProviderReport> {
    this.#ground = undefined;
    this.#report = this.#technology.probe(this.#groundNow(), (runtime, abort) => this.#tryBoots(runtime, abort), signal);
    this.#report.catch(() => (this.#report = undefined));
    return this.#report;
  }

  async start(spec: BoxSpec, signal?: AbortSignal): Promise<Box> {
    const report = await (this.#report ?? this.probe(signal));
    const runtime = chooseRuntime(report, spec.runtime);
    refuseUnenforceable(spec, report, runtime);
    return this.#queue.run(spec.sandboxId, async () => {
      signal?.throwIfAborted();
      const dir = this.#folder(spec.sandboxId);
      const before = readBoxRecord(dir);
      this.#epochs.admit(spec.sandboxId, spec.epoch, before?.epoch);
      if (before !== undefined && before.epoch === spec.epoch) {
        const box = this.#observe(dir, before);
        if (box.status !== "stopped") return box;
        await this.#end(dir, before);
      } else if (before !== undefined) {
        await this.#remove(dir, before);
      }
      return this.#boot(spec, runtime, before?.epoch === spec.epoch ? before : undefined, signal);
    });
  }

  recover(handle: Handle): Promise<Box | undefined> {
    const { sandboxId, epoch } = this.#read(handle);
    return this.#queue.run(sandboxId, async () => {
      const dir = this.#folder(sandboxId);
      const record = readBoxRecord(dir);
      if (record === undefined || record.epoch !== epoch) return undefined;
      this.#claim(record);
      this.#epochs.admit(sandboxId, epoch, record.epoch);
      const box = this.#observe(dir, record);
      if (box.status === "stopped") await this.#end(dir, record);
      return box;
    });
  }

  /** Waits for what is under way with a box, so that one that is just being started is not taken for a dead one. */
  async list(): Promise<readonly Box[]> {
    const known = this.#folders().filter((sandboxId) => !this.#trials.has(sandboxId));
    const found = await Promise.all(known.map((sandboxId) => this.#queue.run(sandboxId, async () => this.#look(sandboxId))));
    return found.filter((box) => box !== undefined);
  }

  async connect(handle: Handle, signal?: AbortSignal): Promise<Duplex> {
    const { dir, record } = this.#find(handle);
    if (record === undefined) throw new CaissonError("agent_unreachable", "There is no such box here.");
    takeBoundSocket(dir);
    return connectAgent(join(dir, SOCKET_NAME), this.#context.clock, signal);
  }

  stop(handle: Handle): Promise<void> {
    return this.#queue.run(this.#read(handle).sandboxId, async () => {
      const { dir, record } = this.#find(handle);
      if (record !== undefined) await this.#end(dir, record);
    });
  }

  destroy(handle: Handle): Promise<void> {
    const { sandboxId, epoch } = this.#read(handle);
    return this.#queue.run(sandboxId, async () => {
      const dir = this.#folder(sandboxId);
      const record = readBoxRecord(dir);
      if (record === undefined) await removeFolder(dir);
      else if (record.epoch <= epoch) await this.#remove(dir, record);
    });
  }

  async usage(handle: Handle): Promise<BoxUsage> {
    const { dir, record } = this.#find(handle);
    const usage = cgroupUsage(record?.cgroups ?? {});
    const supervisor = record === undefined || usage.pids !== null ? undefined : supervisedBy(dir, record);
    return supervisor === undefined ? usage : { ...usage, pids: countProcesses(supervisor.pid) };
  }

  async console(handle: Handle, range: ConsoleRange): Promise<ConsoleChunk> {
    return readConsole(join(this.#find(handle).dir, "console.log"), range);
  }

  freeze(handle: Handle, signal?: AbortSignal): Promise<void> {
    return this.#queue.run(this.#read(handle).sandboxId, async () => {
      const { dir, record } = this.#find(handle);
      if (record === undefined || this.#observe(dir, record).status === "stopped")
        throw new CaissonError("state_conflict", "The sandbox does not run.");
      if (record.cgroups["freezer"] === undefined && record.cgroups["unified"] === undefined)
        throw new CaissonError("unsupported", "This machine offers no freezer.");
      await freezeGroups(record.cgroups, this.#context.clock, signal);
    });
  }

  thaw(handle: Handle): Promise<void> {
    return this.#queue.run(this.#read(handle).sandboxId, async () => thawGroups(this.#find(handle).record?.cgroups ?? {}));
  }

  async #boot(spec: BoxSpec, runtime: RuntimeReport | undefined, before: BoxRecord | undefined, signal?: AbortSignal): Promise<Box> {
    const ground = this.#groundNow();
    const dir = this.#folder(spec.sandboxId);
    const firstId = ground.privileged ? (before?.firstId ?? this.#ids.take()) : null;
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    // A box that is started again keeps its files, but not what the runtime remembered of it, nor its socket.
    if (before !== undefined) for (const name of [RUNTIME_STATE, BOUND_SOCKET_FOLDER, SOCKET_NAME]) await removeFolder(join(dir, name));
    let record: BoxRecord | undefined;
    try {
      const rootfs = planRootFs(spec.rootfs, ground.privileged ? "id-mapped" : "own", ground.usr);
      makeLayerFolders(dir, rootfs);
      const stage = findStage([dir, this.#context.agentPath, spec.rootfs.kind === "host" ? spec.rootfs.skeleton : spec.rootfs.path]);
      const uids = [idRange(firstId, process.geteuid?.() ?? 0)];
      const gids = [idRange(firstId, process.getegid?.() ?? 0)];
      const launch = this.#technology.launch({ ground, spec, dir, stage, runtime, uids, gids });
      for (const [name, text] of Object.entries(launch.files)) writeFileSync(join(dir, name), text, { mode: 0o600 });
      const cgroups =
        ground.powers.memory || ground.powers.freeze || ground.powers.pids ? ground.cgroups.create(spec.sandboxId, spec.resources) : {};
      record = {
        version: 1,
        sandboxId: spec.sandboxId,
        epoch: spec.epoch,
        runtime: runtime?.name ?? null,
        bootId: bootId(),
        firstId,
        cgroups,
        ownedCgroups: launch.cgroups === "named" ? ground.cgroups.everyFolder(spec.sandboxId) : Object.values(cgroups),
      };
      writeBoxRecord(dir, record);
      await this.#supervise(
        dir,
        record,
        launch,
        [...rootfs, ...this.#commonMounts(dir, launch), ...launch.mounts],
        uids,
        gids,
        stage,
        signal,
      );
      if (launch.socket === "bound") await awaitBoundSocket(dir, this.#context.clock, signal);
      return this.#box(record, "running");
    } catch (error) {
      if (before !== undefined) await this.#end(dir, record ?? before);
      else if (record !== undefined) await this.#remove(dir, record);
      else {
        if (firstId !== null) this.#ids.release(firstId);
        await removeFolder(dir);
      }
      throw error;
    }
  }

  #commonMounts(dir: string, launch: Launch): readonly MountStep[] {
    const agent: MountStep = { kind: "bind", source: this.#context.agentPath, target: STAGED.agent, readOnly: true, idMap: false };
    if (launch.socket === "inherited") return [agent];
    mkdirSync(join(dir, BOUND_SOCKET_FOLDER), { recursive: true, mode: 0o700 });
    return [agent, { kind: "bind", source: BOUND_SOCKET_FOLDER, target: STAGED.socketFolder, readOnly: false, idMap: true }];
  }

  #supervise(
    dir: string,
    record: BoxRecord,
    launch: Launch,
    mounts: readonly MountStep[],
    uids: readonly IdRange[],
    gids: readonly IdRange[],
    stage: string,
    signal?: AbortSignal,
  ): Promise<void> {
    let ended: () => void = () => undefined;
    const ending = new Promise<void>((settle) => (ended = settle));
    this.#endings.set(dir, ending);
    void ending.then(() => {
      if (this.#endings.get(dir) === ending) this.#endings.delete(dir);
    });
    const request = {
      dir,
      ...(launch.socket === "inherited" ? { socket: SOCKET_NAME } : {}),
      ...(launch.pidFile === undefined ? {} : { pidFile: launch.pidFile }),
      stage,
      userNamespace: launch.userNamespace,
      uids,
      gids,
      hide: launch.hide,
      mounts,
      ...(launch.processes === undefined ? {} : { processes: launch.processes }),
      joinCgroups: launch.cgroups === "join" ? Object.values(record.cgroups) : [],
      ownCgroups: record.ownedCgroups,
      startLimitMs: START_LIMIT_MS,
      stopLimitMs: STOP_LIMIT_MS,
      runtime: launch.argv,
    };
    return startSupervisor(this.#context.agentPath, request, ended, this.#context.clock, signal);
  }

  /** Tries the better view of `/usr` first; the lesser one is taken for good when only that works. */
  async #tryBoots(runtime: RuntimeReport | undefined, signal?: AbortSignal): Promise<void> {
    const ground = this.#groundNow();
    try {
      await this.#tryBoot(runtime, signal);
    } catch (error) {
      signal?.throwIfAborted();
      if (ground.usr === "read-only") throw error;
      this.#ground = { ...ground, usr: "read-only" };
      try {
        await this.#tryBoot(runtime, signal);
        this.#context.log("info", "the file system under /usr cannot show shifted owners: boxes see it read-only", { provider: this.name });
      } catch {
        // The view was not the reason: the first failure tells more.
        this.#ground = ground;
        throw error;
      }
    }
  }

  /** Boots a box of its own kind, hears its agent's hello, and removes it. */
  async #tryBoot(runtime: RuntimeReport | undefined, signal?: AbortSignal): Promise<void> {
    const { random, clock } = this.#context;
    const sandboxId = `probe${Buffer.from(random.bytes(6)).toString("hex")}`;
    const skeleton = join(this.#dir, `.${sandboxId}`);
    makeTrialSkeleton(skeleton);
    this.#trials.add(sandboxId);
    try {
      const rootfs = { kind: "host", skeleton } as const;
      const spec: BoxSpec = { sandboxId, epoch: 1, rootfs, resources: {}, env: {}, hostname: "probe", network: "none" };
      const box = await this.#boot(spec, runtime, undefined, signal);
      try {
        const link = new Link(await this.connect(box.handle, signal), { role: "dialler", clock, helloDeadlineMs: 5_000 });
        await link.ready.finally(() => link.close());
      } finally {
        await this.destroy(box.handle);
      }
    } finally {
      this.#trials.delete(sandboxId);
      await removeFolder(skeleton);
    }
  }

  #groundNow(): Ground {
    if (this.#ground !== undefined) return this.#ground;
    const tag = createHash("sha256").update(this.#dir).digest("hex").slice(0, 8);
    const cgroups = new CgroupTree(`caisson-${tag}-`);
    const privileged = process.geteuid?.() === 0 && this.#ids.available;
    this.#ground = { context: this.#context, privileged, cgroups, powers: cgroups.powers(), usr: privileged ? "layered" : "read-only" };
    return this.#ground;
  }

  async #end(dir: string, record: BoxRecord): Promise<void> {
    await endBox(dir, record, this.#endings.get(dir), this.#context);
  }

  async #remove(dir: string, record: BoxRecord): Promise<void> {
    await this.#end(dir, record);
    this.#groundNow().cgroups.remove(record.ownedCgroups);
    await removeFolder(dir);
    if (record.firstId !== null) this.#ids.release(record.firstId);
  }

  #look(sandboxId: string): Box | undefined {
    const dir = this.#folder(sandboxId);
    const record = readBoxRecord(dir);
    if (record !== undefined) return this.#observe(dir, record);
    if (!existsSync(dir)) return undefined;
    // A folder without a record was cut short while it was made: it is listed so that it gets destroyed.
    const handle = this.#handle(sandboxId, 0);
    return { sandboxId, epoch: 0, handle, runtime: null, status: "stopped", reason: "it was never started" };
  }

  #observe(dir: string, record: BoxRecord): Box {
    if (supervisedBy(dir, record) !== undefined) return this.#box(record, isFrozen(record.cgroups) ? "paused" : "running");
    return { ...this.#box(record, "stopped"), reason: observeBox(dir, record) };
  }

  #box(record: BoxRecord, status: Box["status"]): Box {
    const { sandboxId, epoch, runtime } = record;
    return { sandboxId, epoch, runtime, status, handle: this.#handle(sandboxId, epoch) };
  }

  #handle(sandboxId: string, epoch: number): Handle {
    return { version: HANDLE_VERSION, provider: this.name, state: { sandboxId, epoch } };
  }

  #read(handle: Handle): { readonly sandboxId: string; readonly epoch: number } {
    const { sandboxId, epoch } = handle.state;
    if (handle.provider !== this.name || handle.version !== HANDLE_VERSION || typeof epoch !== "number")
      throw new CaissonError("internal", `This is no handle of ${this.name}.`);
    if (typeof sandboxId !== "string" || !/^[a-z0-9]{1,64}$/.test(sandboxId))
      throw new CaissonError("internal", "This handle names no sandbox.");
    return { sandboxId, epoch };
  }

  #find(handle: Handle): { readonly dir: string; readonly record: BoxRecord | undefined } {
    const { sandboxId, epoch } = this.#read(handle);
    const dir = this.#folder(sandboxId);
    const record = readBoxRecord(dir);
    return { dir, record: record?.epoch === epoch ? record : undefined };
  }

  #folder(sandboxId: string): string {
    return join(this.#dir, sandboxId);
  }

  #folders(): readonly string[] {
    return readdirSync(this.#dir).filter((name) => /^[a-z0-9]{1,64}$/.test(name));
  }

  #claim(record: BoxRecord | undefined): void {
    if (typeof record?.firstId === "number") this.#ids.claim(record.firstId);
  }
}

/** A range of the box's own, or the one id of the worker's user as root of a namespace. */
function idRange(firstId: number | null, ownId: number): IdRange {
  return firstId === null ? { inside: 0, outside: ownId, count: 1 } : { inside: 0, outside: firstId, count: RANGE_SIZE };
}
