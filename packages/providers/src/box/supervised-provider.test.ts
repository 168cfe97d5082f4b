import { existsSync, readFileSync, readdirSync } from "node:fs";
import process from "node:process";
import { isCaissonError, systemClock } from "@caisson/contract";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { detectCgroupLayout } from "../cgroups/layout.ts";
import type { Box } from "../contract/provider.ts";
import { capabilitiesOf, isRequired, RealBoxes, WAYS } from "../testing/real-boxes.ts";

/** Waits for something that follows by itself, within a limit. */
async function eventually(check: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = systemClock.monotonic() + 10_000;
  while (!(await check())) {
    if (systemClock.monotonic() > deadline) throw new Error("it did not happen within 10 s");
    await systemClock.sleep(5);
  }
}

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

  const test = (name: string, run: () => Promise<void>): void =>
    it(name, async (context) => {
      if (obstacle !== undefined) return context.skip(obstacle);
      await run();
    });

  test("start, run, and leave nothing", async () => {
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

  test("epochs: the same returns the running box, a higher one replaces it, a lower one is refused", async () => {
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

  test("a worker that restarts finds its boxes", async () => {
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

  test("stopped boxes keep their files and start again on them", async () => {
    const box = await boxes.start("sbstop", 1);
    await boxes.run(box.handle, { command: "echo kept > /etc/kept", user: "root" });
    await boxes.provider.stop(box.handle);
    await boxes.provider.stop(box.handle);
    expect(await boxes.provider.list()).toMatchObject([{ sandboxId: "sbstop", status: "stopped", reason: "it was stopped" }]);
    const again = await boxes.start("sbstop", 1);
    expect((await boxes.run(again.handle, "cat /etc/kept")).text).toBe("kept\n");
    await boxes.provider.destroy(again.handle);
  });

  test("a box whose supervisor is killed is noticed, ended, and leaves nothing", async () => {
    const box = await boxes.start("sbkilled", 1);
    process.kill(boxes.supervisorPid("sbkilled"), "SIGKILL");
    await eventually(async () => (await boxes.provider.list())[0]?.status === "stopped");
    expect(await boxes.provider.recover(box.handle)).toMatchObject({ status: "stopped", reason: "its supervisor was killed" });
    await boxes.provider.destroy(box.handle);
    await eventually(() => processesNaming("sbkilled").length === 0);
    expect(groupsNaming("sbkilled")).toEqual([]);
  });

  test("frozen boxes stand still, thaw, and can be destroyed", async () => {
    const { provider } = boxes;
    const report = await provider.probe();
    if (!capabilitiesOf(report, boxes.runtime).freeze || provider.freeze === undefined || provider.thaw === undefined) return;
    const box = await boxes.start("sbfreeze", 1);
    await provider.freeze(box.handle);
    await provider.freeze(box.handle);
    expect((await provider.list())[0]?.status).toBe("paused");
    await provider.thaw(box.handle);
    expect((await boxes.run(box.handle, "echo thawed")).text).toBe("thawed\n");
    await provider.freeze(box.handle);
    await provider.destroy(box.handle);
    expect(groupsNaming("sbfreeze")).toEqual([]);
  });

  test("limits hold, and what cannot be held is refused before anything is made", async () => {
    const capabilities = capabilitiesOf(await boxes.provider.probe(), boxes.runtime);
    await expect(boxes.start("sblimit", 1, { resources: { diskMb: 64 } })).rejects.toSatisfy((error) =>
      isCaissonError(error, "unsupported"),
    );
    expect(existsSync(boxes.boxFolder("sblimit"))).toBe(false);
    if (capabilities.limit_pids) {
      const box = await boxes.start("sblimit", 1, { resources: { pids: 40 } });
      await boxes.run(box.handle, "for i in $(seq 60); do sleep 30 > /dev/null 2>&1 & done; true");
      const { pids } = await boxes.provider.usage(box.handle);
      expect(pids).toBeGreaterThan(20);
      expect(pids).toBeLessThanOrEqual(40);
      await boxes.provider.destroy(box.handle);
    }
    if (capabilities.limit_memory) {
      const box = await boxes.start("sblimit", 2, { resources: { memoryMb: 256, vcpus: 1 } });
      expect((await boxes.provider.usage(box.handle)).memoryBytes).toBeGreaterThan(0);
      // Below gVisor the limit ends the whole box: its kernel is what the machine sees.
      if (boxes.runtime !== "runsc") {
        expect((await boxes.run(box.handle, "head -c 400M /dev/zero | tail > /dev/null; echo $?")).text).not.toBe("0\n");
        expect((await boxes.provider.usage(box.handle)).oomKills).toBeGreaterThan(0);
        expect((await boxes.run(box.handle, "echo alive")).text).toBe("alive\n");
      }
      await boxes.provider.destroy(box.handle);
    }
    expect(groupsNaming("sblimit")).toEqual([]);
  });

  test("a boot that fails says why and leaves nothing", async () => {
    const rootfs = { kind: "folder", path: `${boxes.skeleton}/etc`, owner: "root" } as const;
    await expect(boxes.start("sbfail", 1, { rootfs: { ...rootfs, path: `${boxes.skeleton}/none` } })).rejects.toThrow();
    expect(existsSync(boxes.boxFolder("sbfail"))).toBe(false);
    expect(groupsNaming("sbfail")).toEqual([]);
  });

  test("an image is seen with its own owners, and never changed", async () => {
    const box = await boxes.start("sbimage", 1, { rootfs: { kind: "folder", path: boxes.skeleton, owner: "root" } });
    expect(box.status).toBe("running");
    // Without the machine's /usr there is no shell: the agent itself tells.
    expect(await boxes.run(box.handle, { argv: ["/bin/none"] })).toMatchObject({ code: 127 });
    await boxes.provider.destroy(box.handle);
    expect(readdirSync(boxes.skeleton).sort()).toEqual(expect.arrayContaining(["etc", "usr"]));
  });
});
