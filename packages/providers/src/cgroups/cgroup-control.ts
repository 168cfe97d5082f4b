import process from "node:process";
import type { Clock } from "@caisson/contract";
import { CaissonError } from "@caisson/contract";
import type { BoxUsage } from "../contract/provider.ts";
import { hasSystemCode, readCgroupFile, readCgroupKey, readCgroupNumber, writeCgroupFile } from "./cgroup-file.ts";
import type { CgroupPaths } from "./cgroup-tree.ts";

const FREEZE_LIMIT_MS = 5_000;
/** Looks after which a v1 freezer is let go and asked again: a process caught between two states can hold it up for good. */
const LOOKS_PER_FREEZE = 50;

/** What the groups of a box use now; null where nothing counts it. */
export function cgroupUsage(groups: CgroupPaths): BoxUsage {
  const { unified, memory, cpuacct, pids } = groups;
  if (unified !== undefined) {
    const cpu = readCgroupKey(unified, "cpu.stat", "usage_usec");
    return {
      memoryBytes: readCgroupNumber(unified, "memory.current") ?? null,
      cpuMs: cpu === undefined ? null : Math.round(cpu / 1000),
      pids: readCgroupNumber(unified, "pids.current") ?? null,
      oomKills: readCgroupKey(unified, "memory.events", "oom_kill") ?? null,
    };
  }
  const cpu = cpuacct === undefined ? undefined : readCgroupNumber(cpuacct, "cpuacct.usage");
  return {
    memoryBytes: memory === undefined ? null : (readCgroupNumber(memory, "memory.usage_in_bytes") ?? null),
    cpuMs: cpu === undefined ? null : Math.round(cpu / 1_000_000),
    pids: pids === undefined ? null : (readCgroupNumber(pids, "pids.current") ?? null),
    oomKills: memory === undefined ? null : (readCgroupKey(memory, "memory.oom_control", "oom_kill") ?? null),
  };
}

/** Whether the box is frozen, or on its way to be. */
export function isFrozen(groups: CgroupPaths): boolean {
  if (groups["unified"] !== undefined) return readCgroupFile(groups["unified"], "cgroup.freeze") === "1";
  const freezer = groups["freezer"];
  const state = freezer === undefined ? undefined : readCgroupFile(freezer, "freezer.state");
  return state === "FROZEN" || state === "FREEZING";
}

/** Stops every process where it is, and waits until all stand still; otherwise undoes it and fails. */
export async function freezeGroups(groups: CgroupPaths, clock: Clock, signal?: AbortSignal): Promise<void> {
  const deadline = clock.monotonic() + FREEZE_LIMIT_MS;
  setFrozen(groups, "frozen");
  try {
    for (let looks = 1; !standsStill(groups); looks++) {
      if (looks % LOOKS_PER_FREEZE === 0 && groups["unified"] === undefined) setFrozen(groups, "running");
      setFrozen(groups, "frozen");
      if (clock.monotonic() > deadline)
        throw new CaissonError("provider_failed", `The sandbox did not freeze within ${FREEZE_LIMIT_MS} ms.`);
      await clock.sleep(1, signal);
    }
  } catch (error) {
    setFrozen(groups, "running");
    throw error;
  }
}

/** Lets every process go on. */
export function thawGroups(groups: CgroupPaths): void {
  setFrozen(groups, "running");
}

/** Kills every process in the groups, once; for a box whose supervisor is gone. Returns how many were there. */
export function killGroups(groups: CgroupPaths): number {
  const pids = new Set<number>();
  for (const group of Object.values(groups)) {
    for (const line of readCgroupFile(group, "cgroup.procs")?.split("\n") ?? []) if (line !== "") pids.add(Number(line));
  }
  for (const pid of pids) {
    try {
      process.kill(pid, "SIGKILL");
    } catch (error) {
      if (!hasSystemCode(error, "ESRCH")) throw error;
    }
  }
  if (pids.size > 0) thawGroups(groups);
  return pids.size;
}

function setFrozen(groups: CgroupPaths, to: "frozen" | "running"): void {
  const { unified, freezer } = groups;
  try {
    if (unified !== undefined) writeCgroupFile(unified, "cgroup.freeze", to === "frozen" ? "1" : "0");
    else if (freezer !== undefined) writeCgroupFile(freezer, "freezer.state", to === "frozen" ? "FROZEN" : "THAWED");
  } catch (error) {
    if (!hasSystemCode(error, "ENOENT", "ENODEV")) throw error;
  }
}

function standsStill(groups: CgroupPaths): boolean {
  const { unified, freezer } = groups;
  if (unified !== undefined) return readCgroupKey(unified, "cgroup.events", "frozen") === 1;
  return freezer === undefined || readCgroupFile(freezer, "freezer.state") === "FROZEN";
}
