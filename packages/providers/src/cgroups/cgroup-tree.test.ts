import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CaissonError, systemClock } from "@caisson/contract";
import { afterAll, describe, expect, it } from "vitest";
import { removeFolder } from "../box/removal.ts";
import { cgroupUsage, freezeGroups, isFrozen, killGroups, thawGroups } from "./cgroup-control.ts";
import { CgroupTree, type CgroupPaths } from "./cgroup-tree.ts";
import { detectCgroupLayout, type CgroupLayout } from "./layout.ts";

const machine = detectCgroupLayout();
/** The v2 hierarchy of this machine alone, as if it had no other: its core works beside v1 controllers too. */
const onlyV2: CgroupLayout = { kind: "v2", controllers: {}, v1Mounts: [], v2Mount: machine.v2Mount };

describe.each([
  ["as they are", machine],
  ["v2 alone", onlyV2],
])("control groups of this machine, %s", (_, layout) => {
  const tree = new CgroupTree("caisson-test-", layout);
  const works = layout.v2Mount !== null || layout.v1Mounts.length > 0 ? tree.powers().freeze : false;

  it("freeze, thaw and kill a process, then go away", async ({ skip }) => {
    skip(!works, "no group can be made here");
    const groups: CgroupPaths = tree.create("kill", {});
    const sleeper = spawn("sleep", ["100"], { stdio: "ignore" });
    for (const group of Object.values(groups)) writeFileSync(join(group, "cgroup.procs"), String(sleeper.pid));
    expect(tree.list()).toContain("kill");
    await freezeGroups(groups, systemClock);
    expect(isFrozen(groups)).toBe(true);
    thawGroups(groups);
    expect(isFrozen(groups)).toBe(false);
    await freezeGroups(groups, systemClock);
    const exited = once(sleeper, "exit");
    expect(killGroups(groups)).toBe(1);
    expect(await exited).toEqual([null, "SIGKILL"]);
    tree.remove(groups);
    expect(Object.values(groups).filter((group) => existsSync(group))).toEqual([]);
    tree.remove(groups);
  });

  it("leave nothing when the kernel refuses a limit", ({ skip }) => {
    skip(!works || !tree.powers().cpu, "no cpu limit can be set here");
    expect(() => tree.create("refused", { vcpus: 1e12 })).toThrow(CaissonError);
    expect(tree.list()).not.toContain("refused");
  });

  it("say what they can enforce", () => {
    const { reason, ...powers } = tree.powers();
    expect(Object.values(powers).every(Boolean) || typeof reason === "string").toBe(true);
  });
});

describe("limits in the words of v2", () => {
  const mount = mkdtempSync(join(tmpdir(), "caisson-cgroup2-"));
  afterAll(() => removeFolder(mount));

  it("are written and read back", () => {
    // A folder with the files of a group stands in for the controllers that this machine's v2 hierarchy may lack.
    const group = join(mount, "caisson", "caisson-x");
    mkdirSync(group, { recursive: true });
    for (const [name, text] of Object.entries({
      "memory.max": "max",
      "memory.swap.max": "max",
      "cpu.max": "max 100000",
      "pids.max": "max",
      "memory.current": "4096\n",
      "cpu.stat": "usage_usec 2500000\nuser_usec 1\n",
      "pids.current": "3\n",
      "memory.events": "low 0\noom 2\noom_kill 1\n",
    }))
      writeFileSync(join(group, name), text);
    const tree = new CgroupTree("caisson-", { kind: "v2", controllers: {}, v1Mounts: [], v2Mount: mount });
    const groups = tree.create("x", { memoryMb: 64, vcpus: 0.5, pids: 40 });
    expect(groups).toEqual({ unified: group });
    expect(readFileSync(join(group, "memory.max"), "utf8")).toBe("67108864");
    expect(readFileSync(join(group, "memory.swap.max"), "utf8")).toMatch(/^0/);
    expect(readFileSync(join(group, "cpu.max"), "utf8")).toMatch(/^50000 100000/);
    expect(readFileSync(join(group, "pids.max"), "utf8")).toMatch(/^40/);
    expect(cgroupUsage(groups)).toEqual({ memoryBytes: 4096, cpuMs: 2500, pids: 3, oomKills: 1 });
  });

  it("hold when systemd takes back the controllers at the top", () => {
    // The kernel refuses that as long as a group in between hands them down: both levels must be told to.
    const folders = [mount, join(mount, "caisson")];
    for (const folder of folders) {
      mkdirSync(folder, { recursive: true });
      writeFileSync(join(folder, "cgroup.controllers"), "cpuset cpu memory pids\n");
      writeFileSync(join(folder, "cgroup.subtree_control"), "memory pids\n");
    }
    const tree = new CgroupTree("caisson-", { kind: "v2", controllers: {}, v1Mounts: [], v2Mount: mount });
    tree.create("y", {});
    for (const folder of folders) expect(readFileSync(join(folder, "cgroup.subtree_control"), "utf8")).toMatch(/^\+cpu/);
    expect(tree.groupPath("y")).toBe("caisson/caisson-y");
  });
});
