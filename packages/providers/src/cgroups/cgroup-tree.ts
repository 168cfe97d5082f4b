import { existsSync, mkdirSync, readdirSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { CaissonError, type Resources } from "@caisson/contract";
import { hasSystemCode, readCgroupFile, writeCgroupFile } from "./cgroup-file.ts";
import { detectCgroupLayout, type CgroupLayout } from "./layout.ts";

/** The groups of one box: by v1 controller, or `unified` for v2. Kept in the box's record. */
export type CgroupPaths = Readonly<Record<string, string>>;

/** What groups made here can enforce. */
export interface CgroupPowers {
  readonly memory: boolean;
  readonly cpu: boolean;
  readonly pids: boolean;
  readonly freeze: boolean;
  /** Why something is missing. */
  readonly reason?: string;
}

const NO_POWERS = { memory: false, cpu: false, pids: false, freeze: false };
const V1_CONTROLLERS = ["memory", "cpu", "cpuacct", "pids", "freezer"];
const V2_CONTROLLERS = ["memory", "cpu", "pids"];
/**
 * Group above all boxes on v2. It hands the controllers down, which keeps them switched on at the top: systemd takes away
 * there what none of its units asks for, at each reload, and the limits of groups right below would go with it unnoticed.
 * It is shared by all workers and stays, as one that another worker just fills must not be pulled away.
 */
const V2_PARENT = "caisson";
const CPU_PERIOD_US = 100_000;
/** Most processes and threads of a box that names no limit: a fork bomb ends its own box, never the machine. */
export const PROCESS_CEILING = 4096;

/** Makes and removes groups near the top of this machine's hierarchies, whatever their layout. */
export class CgroupTree {
  readonly layout: CgroupLayout;
  readonly #prefix: string;

  /** `prefix` begins the name of every group made here, so that they can be found again. */
  constructor(prefix: string, layout: CgroupLayout = detectCgroupLayout()) {
    this.layout = layout;
    this.#prefix = prefix;
  }

  /** Path of a box's group below the mount point of a hierarchy. */
  groupPath(sandboxId: string): string {
    return join(this.#parent, `${this.#prefix}${sandboxId}`);
  }

  /** Tries it: makes a group and looks at what it has. */
  powers(): CgroupPowers {
    const { kind } = this.layout;
    if (kind === "none") return { ...NO_POWERS, reason: "no control group hierarchy is mounted" };
    try {
      const groups = this.create("probe", {});
      const has = (controller: string, file: string): boolean => {
        const group = groups[kind === "v2" ? "unified" : controller];
        return group !== undefined && readCgroupFile(group, file) !== undefined;
      };
      const powers =
        kind === "v2"
          ? {
              memory: has("memory", "memory.max"),
              cpu: has("cpu", "cpu.max"),
              pids: has("pids", "pids.max"),
              freeze: has("", "cgroup.freeze"),
            }
          : {
              memory: has("memory", "memory.limit_in_bytes"),
              cpu: has("cpu", "cpu.cfs_quota_us"),
              pids: has("pids", "pids.max"),
              freeze: has("freezer", "freezer.state"),
            };
      this.remove(groups);
      const missing = V2_CONTROLLERS.filter((name) => !powers[name as "memory" | "cpu" | "pids"]);
      return missing.length === 0 ? powers : { ...powers, reason: `the machine does not offer the controllers: ${missing.join(", ")}` };
    } catch (error) {
      return { ...NO_POWERS, reason: `no control group can be made: ${error instanceof Error ? error.message : String(error)}` };
    }
  }

  /** Makes the groups of a box and writes its limits. Existing ones are taken over. */
  create(sandboxId: string, resources: Resources): CgroupPaths {
    const groups: Record<string, string> = {};
    try {
      this.#make(groups, this.groupPath(sandboxId));
      if (groups["unified"] !== undefined) writeV2Limits(groups["unified"], resources);
      else writeV1Limits(groups, resources);
      return groups;
    } catch (error) {
      // Nobody else knows of them yet: what was made must go before the failure is told.
      this.remove(groups);
      throw new CaissonError("provider_failed", error instanceof Error ? error.message : String(error), { cause: error });
    }
  }

  /** Makes the folders; each is in `groups` once it is there. */
  #make(groups: Record<string, string>, path: string): void {
    if (this.layout.kind === "v2" && this.layout.v2Mount !== null) {
      const parent = join(this.layout.v2Mount, this.#parent);
      mkdirSync(parent, { recursive: true });
      for (const above of [this.layout.v2Mount, parent]) enableControllers(above);
      const unified = join(this.layout.v2Mount, path);
      mkdirSync(unified, { recursive: true });
      groups["unified"] = unified;
      return;
    }
    for (const controller of V1_CONTROLLERS) {
      const mount = this.layout.controllers[controller];
      if (mount === undefined) continue;
      const group = join(mount, path);
      mkdirSync(group, { recursive: true });
      groups[controller] = group;
    }
  }

  /** Every folder a runtime that makes groups of its own under this name may leave. */
  everyFolder(sandboxId: string): readonly string[] {
    return this.#mounts.map((mount) => join(mount, this.groupPath(sandboxId)));
  }

  /** The sandbox ids of all groups of ours on the machine, known or not. */
  list(): ReadonlySet<string> {
    const found = new Set<string>();
    for (const mount of this.#mounts) {
      const parent = join(mount, this.#parent);
      const names = existsSync(parent) ? readdirSync(parent) : [];
      for (const name of names) if (name.startsWith(this.#prefix)) found.add(name.slice(this.#prefix.length));
    }
    return found;
  }

  /** Removes empty groups; those that are not there are fine. */
  remove(groups: CgroupPaths | readonly string[]): void {
    for (const group of Object.values(groups)) removeGroup(group);
  }

  get #parent(): string {
    return this.layout.kind === "v2" ? V2_PARENT : "";
  }

  get #mounts(): readonly string[] {
    return [...this.layout.v1Mounts, ...(this.layout.v2Mount === null ? [] : [this.layout.v2Mount])];
  }
}

/**
 * Lets the groups below a v2 group have the controllers that it has itself. All at once: `cpu` and `pids` alone could be had
 * in spite of processes in this very group, but then no process may enter the groups below it any more.
 */
function enableControllers(group: string): void {
  const enabled = new Set(readCgroupFile(group, "cgroup.subtree_control")?.split(" "));
  const offered = new Set(readCgroupFile(group, "cgroup.controllers")?.split(" "));
  const missing = V2_CONTROLLERS.filter((controller) => offered.has(controller) && !enabled.has(controller));
  if (missing.length === 0) return;
  try {
    writeCgroupFile(group, "cgroup.subtree_control", missing.map((controller) => `+${controller}`).join(" "));
  } catch (error) {
    // Processes in this very group forbid it: then the power is missing, which `powers` reports.
    if (!hasSystemCode(error, "EBUSY", "EPERM", "EACCES", "EROFS", "ENOENT")) throw error;
  }
}

function removeGroup(group: string): void {
  try {
    rmdirSync(group);
  } catch (error) {
    if (hasSystemCode(error, "ENOENT")) return;
    if (!hasSystemCode(error, "EBUSY", "ENOTEMPTY")) throw error;
    for (const entry of readdirSync(group, { withFileTypes: true })) if (entry.isDirectory()) removeGroup(join(group, entry.name));
    rmdirSync(group);
  }
}

function writeV1Limits(groups: CgroupPaths, resources: Resources): void {
  if (resources.memoryMb !== undefined && groups["memory"] !== undefined) {
    const bytes = String(resources.memoryMb * 1024 * 1024);
    // A limit on memory and swap together may not lie below the one on memory: raise it first when it is taken over.
    if (readCgroupFile(groups["memory"], "memory.memsw.limit_in_bytes") !== undefined)
      writeCgroupFile(groups["memory"], "memory.memsw.limit_in_bytes", "-1");
    writeCgroupFile(groups["memory"], "memory.limit_in_bytes", bytes);
    if (readCgroupFile(groups["memory"], "memory.memsw.limit_in_bytes") === undefined)
      writeCgroupFile(groups["memory"], "memory.swappiness", "0");
    else writeCgroupFile(groups["memory"], "memory.memsw.limit_in_bytes", bytes);
  }
  if (resources.vcpus !== undefined && groups["cpu"] !== undefined) {
    writeCgroupFile(groups["cpu"], "cpu.cfs_period_us", String(CPU_PERIOD_US));
    writeCgroupFile(groups["cpu"], "cpu.cfs_quota_us", String(cpuQuota(resources.vcpus)));
  }
  if (groups["pids"] !== undefined) writeCgroupFile(groups["pids"], "pids.max", String(resources.pids ?? PROCESS_CEILING));
}

function writeV2Limits(unified: string, resources: Resources): void {
  if (resources.memoryMb !== undefined) {
    writeCgroupFile(unified, "memory.max", String(resources.memoryMb * 1024 * 1024));
    if (readCgroupFile(unified, "memory.swap.max") !== undefined) writeCgroupFile(unified, "memory.swap.max", "0");
  }
  if (resources.vcpus !== undefined) writeCgroupFile(unified, "cpu.max", `${cpuQuota(resources.vcpus)} ${CPU_PERIOD_US}`);
  if (readCgroupFile(unified, "pids.max") !== undefined) writeCgroupFile(unified, "pids.max", String(resources.pids ?? PROCESS_CEILING));
}

/** The kernel takes no quota below 1 ms. */
function cpuQuota(vcpus: number): number {
  return Math.max(1000, Math.round(vcpus * CPU_PERIOD_US));
}
