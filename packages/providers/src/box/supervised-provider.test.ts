import { existsSync, readFileSync, readdirSync } from "node:fs";
import process from "node:process";
import { isCaissonError, systemClock } from "@caisson/contract";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { detectCgroupLayout } from "../cgroups/layout.ts";
import type { Box } from "../contract/provider.ts";
import { capabilitiesOf, isRequired, RealBoxes, WAYS } from "../testing/real-boxes.ts";

function groupsNaming(text: string): string[] {
  const { v1Mounts, v2Mount } = detectCgroupLayout();
  const mounts = v2Mount === null ? v1Mounts : [...v1Mounts, v2Mount];
  return mounts.flatMap((mount) => readdirSync(mount).filter((name) => name.includes(text)));
}

function processesNaming(text: string): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(text);
      } catch {
        return false; // it ended while we looked
      }
    });
}

describe.each(WAYS)("boxes by %s", (way) => {
  const boxes = new RealBoxes(way);
  let obstacle: string | undefined;

  beforeAll(async () => {
    obstacle = await boxes.obstacle();
    if (obstacle !== undefined && isRequired(way)) throw new Error(`${way} is required: ${obstacle}`);
  });
  afterAll(() => boxes.close());

  beforeEach(({ skip }) => skip(obstacle !== undefined, obstacle));

  it("start, run, and leave nothing", async () => {
    const box = await boxes.start("sblife", 1, { env: { COLOUR: "blue" } });
    expect(await boxes.run(box.handle, "echo $COLOUR; id -un")).toEqual({ text: "blue\nuser\n", code: 0 });
    expect(processesNaming("sblife").length).toBeGreaterThan(0);
    await boxes.provider.destroy(box.handle);
    await boxes.provider.destroy(box.handle);
    expect(existsSync(boxes.boxFolder("sblife"))).toBe(false);
    expect(groupsNaming("sblife")).toEqual([]);
    expect(processesNaming("sblife")).toEqual([]);
    expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain("sblife");
    await expect(boxes.provider.connect(box.handle)).rejects.toSatisfy((error) => isCaissonError(error, "agent_unreachable"));
  });

  it("epochs: the same returns the running box, a higher one replaces it, a lower one is refused", async () => {
    const first = await boxes.start("sbepoch", 2);
    await boxes.run(first.handle, { command: "echo mine > /tmp/kept", user: "root" });
    await boxes.start("sbepoch", 2);
    expect((await boxes.run(first.handle, "cat /proc/uptime > /dev/null; pgrep -c caisson; echo ok")).code).toBe(0);
    await expect(boxes.start("sbepoch", 1)).rejects.toSatisfy((error) => isCaissonError(error, "lease_lost"));
    const second = await boxes.start("sbepoch", 3);
    expect((await boxes.run(second.handle, "ls /tmp/kept")).code).not.toBe(0);
    await boxes.provider.destroy(first.handle);
    expect((await boxes.run(second.handle, "true")).code).toBe(0);
    await boxes.provider.destroy(second.handle);
    await expect(boxes.start("sbepoch", 2)).rejects.toSatisfy((error) => isCaissonError(error, "lease_lost"));
  });

  it("a worker that restarts finds its boxes", async () => {
    const box = await boxes.start("sbrestart", 1);
    const pid = (await boxes.run(box.handle, "sleep 1000 > /dev/null 2>&1 & echo $!")).text.trim();
    const handle = JSON.parse(JSON.stringify(box.handle)) as Box["handle"];
    const provider = boxes.restarted();
    expect((await provider.list()).map((found) => [found.sandboxId, found.epoch, found.status])).toEqual([["sbrestart", 1, "running"]]);
    expect(await provider.recover(handle)).toMatchObject({ sandboxId: "sbrestart", status: "running", runtime: boxes.runtime });
    expect((await boxes.run(handle, `kill -0 ${pid} 2>&1; echo here`)).text).toContain("here");
    await expect(boxes.start("sbrestart", 0)).rejects.toSatisfy((error) => isCaissonError(error, "lease_lost"));
    await provider.destroy(handle);
    expect(await provider.recover(handle)).toBeUndefined();
  });

  it("stopped boxes keep their files and start again on them", async () => {
    const box = await boxes.start("sbstop", 1);
    await boxes.run(box.handle, { command: "echo kept > /etc/kept", user: "root" });
    await boxes.provider.stop(box.handle);
    await boxes.provider.stop(box.handle);
    expect(await boxes.provider.list()).toMatchObject([{ sandboxId: "sbstop", status: "stopped", reason: "it was stopped" }]);
    const again = await boxes.start("sbstop", 1);
    expect((await boxes.run(again.handle, "cat /etc/kept")).text).toBe("kept\n");
    await boxes.provider.destroy(again.handle);
  });

  it("a box whose supervisor is killed is noticed, ended, and leaves nothing", async () => {
    const box = await boxes.start("sbkilled", 1);
    process.kill(boxes.supervisorPid("sbkilled"), "SIGKILL");
    await expect.poll(async () => (await boxes.provider.list())[0]?.status).toBe("stopped");
    expect(await boxes.provider.recover(box.handle)).toMatchObject({ status: "stopped", reason: "its supervisor was killed" });
    await boxes.provider.destroy(box.handle);
    await expect.poll(() => processesNaming("sbkilled")).toEqual([]);
    expect(groupsNaming("sbkilled")).toEqual([]);
  });

  it("frozen boxes stand still, thaw, and can be destroyed", async ({ skip }) => {
    const { provider } = boxes;
    const { freeze } = capabilitiesOf(await provider.probe(), boxes.runtime);
    skip(!freeze, "this machine offers no freezer");
    const box = await boxes.start("sbfreeze", 1);
    await provider.freeze?.(box.handle);
    await provider.freeze?.(box.handle);
    expect((await provider.list())[0]?.status).toBe("paused");
    await provider.thaw?.(box.handle);
    expect((await boxes.run(box.handle, "echo thawed")).text).toBe("thawed\n");
    await provider.freeze?.(box.handle);
    await provider.destroy(box.handle);
    expect(groupsNaming("sbfreeze")).toEqual([]);
  });

  it("what cannot be held is refused before anything is made", async () => {
    await expect(boxes.start("sbdisk", 1, { resources: { diskMb: 64 } })).rejects.toSatisfy((error) =>
      isCaissonError(error, "unsupported"),
    );
    expect(existsSync(boxes.boxFolder("sbdisk"))).toBe(false);
  });

  it("a limit on processes holds", async ({ skip }) => {
    skip(!capabilitiesOf(await boxes.provider.probe(), boxes.runtime).limit_pids, "not enforced here");
    const box = await boxes.start("sbpids", 1, { resources: { pids: 40 } });
    await boxes.run(box.handle, "for i in $(seq 60); do sleep 30 > /dev/null 2>&1 & done; true");
    const { pids } = await boxes.provider.usage(box.handle);
    expect(pids).toBeGreaterThan(20);
    expect(pids).toBeLessThanOrEqual(40);
    await boxes.provider.destroy(box.handle);
    expect(groupsNaming("sbpids")).toEqual([]);
  });

  it("a limit on memory kills what exceeds it", async ({ skip }) => {
    skip(!capabilitiesOf(await boxes.provider.probe(), boxes.runtime).limit_memory, "not enforced here");
    skip(boxes.runtime === "runsc", "the machine sees gVisor's kernel only: the limit ends the whole box");
    const box = await boxes.start("sbmemory", 1, { resources: { memoryMb: 256 } });
    expect((await boxes.run(box.handle, "head -c 400M /dev/zero | tail > /dev/null; echo $?")).text).not.toBe("0\n");
    expect((await boxes.provider.usage(box.handle)).oomKills).toBeGreaterThan(0);
    expect((await boxes.run(box.handle, "echo alive")).text).toBe("alive\n");
    await boxes.provider.destroy(box.handle);
  });

  it("a limit on processor time holds", async ({ skip }) => {
    skip(!capabilitiesOf(await boxes.provider.probe(), boxes.runtime).limit_cpu, "not enforced here");
    const box = await boxes.start("sbcpu", 1, { resources: { vcpus: 0.3 } });
    const before = await boxes.provider.usage(box.handle);
    const begin = systemClock.monotonic();
    await boxes.run(box.handle, "timeout 1 sh -c 'while :; do :; done'");
    const spent = ((await boxes.provider.usage(box.handle)).cpuMs ?? 0) - (before.cpuMs ?? 0);
    expect(spent / (systemClock.monotonic() - begin)).toBeLessThan(0.45);
    await boxes.provider.destroy(box.handle);
  });

  it("a boot that fails says why and leaves nothing", async () => {
    const rootfs = { kind: "folder", path: `${boxes.skeleton}/etc`, owner: "root" } as const;
    await expect(boxes.start("sbfail", 1, { rootfs: { ...rootfs, path: `${boxes.skeleton}/none` } })).rejects.toThrow(
      /layer|No such file|ENOENT/,
    );
    expect(existsSync(boxes.boxFolder("sbfail"))).toBe(false);
    expect(groupsNaming("sbfail")).toEqual([]);
  });

  it("an image is seen with its own owners, and never changed", async () => {
    const box = await boxes.start("sbimage", 1, { rootfs: { kind: "folder", path: boxes.skeleton, owner: "root" } });
    expect(box.status).toBe("running");
    // Without the machine's /usr there is no shell: the agent itself tells.
    expect(await boxes.run(box.handle, { argv: ["/bin/none"] })).toMatchObject({ code: 127 });
    await boxes.provider.destroy(box.handle);
    expect(readdirSync(boxes.skeleton).sort()).toEqual(expect.arrayContaining(["etc", "usr"]));
  });
});
