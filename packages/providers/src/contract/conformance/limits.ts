import type { Capability, Resources } from "@caisson/contract";
import { describe, expect, it } from "vitest";
import { codeOf, type Subject } from "./subject.ts";

const ASKED: readonly (readonly [Capability, Resources])[] = [
  ["limit_memory", { memoryMb: 128 }],
  ["limit_cpu", { vcpus: 0.5 }],
  ["limit_pids", { pids: 64 }],
  ["limit_disk", { diskMb: 64 }],
];

/** Limits are enforced or refused, never ignored. */
export function limitCases(get: () => Subject): void {
  describe("limits", () => {
    it.each(ASKED)("%s is refused where it cannot be enforced, before anything is made", async (capability, resources) => {
      const subject = get();
      const spec = subject.spec({ resources });
      if (subject.capabilities[capability]) {
        await subject.destroy({ box: await subject.start(spec) });
        return;
      }
      expect(await codeOf(subject.start(spec))).toBe("unsupported");
      expect((await subject.provider.list()).map((box) => box.sandboxId)).not.toContain(spec.sandboxId);
    });

    it("images are refused where they cannot be run", async (context) => {
      const subject = get();
      context.skip(subject.capabilities.images, "it runs images");
      const spec = { ...subject.spec(), rootfs: { kind: "folder", path: "/nonexistent", owner: "root" } as const };
      expect(await codeOf(subject.start(spec))).toBe("unsupported");
    });

    it("memory: a hog is killed, the box and its agent live on", async (context) => {
      const subject = get();
      subject.needs(context, "limit_memory");
      await subject.needsHostKernel(context);
      const booted = await subject.boot({ resources: { memoryMb: 96 } });
      const hog = await subject.run(booted.guest, {
        argv: ["sh", "-c", "head -c 400000000 /dev/zero | tail -c 399999999 | wc -c"],
        timeoutMs: 50_000,
      });
      expect([hog.exit.timedOut, hog.out.toString().trim() === "399999999"]).toEqual([false, false]);
      expect(await subject.text(booted.guest, "echo alive")).toBe("alive\n");
      const usage = await subject.provider.usage(booted.box.handle);
      expect(usage.memoryBytes === null || usage.memoryBytes < 97 * 1_048_576).toBe(true);
      expect(usage.oomKills === null || usage.oomKills > 0).toBe(true);
      await subject.destroy(booted);
    });

    it("memory: what a hog can take is held, even if that ends its box", async (context) => {
      const subject = get();
      subject.needs(context, "limit_memory");
      const [hungry, neighbour] = await Promise.all([subject.boot({ resources: { memoryMb: 96 } }), subject.boot()]);
      const hog = { argv: ["sh", "-c", "head -c 400000000 /dev/zero | tail -c 399999999 | wc -c"], timeoutMs: 50_000 };
      const out = await subject.run(hungry.guest, hog).then(
        (outcome) => outcome.out.toString().trim(),
        () => "the box ended",
      );
      expect(out).not.toBe("399999999");
      expect(await subject.text(neighbour.guest, "echo alive")).toBe("alive\n");
      expect(["running", "stopped"]).toContain((await subject.provider.recover(hungry.box.handle))?.status);
      await subject.destroy(hungry);
      await subject.destroy(neighbour);
    });

    it("pids: a fork bomb is contained and a neighbour answers meanwhile", { timeout: 240_000 }, async (context) => {
      const subject = get();
      subject.needs(context, "limit_pids");
      const [bombed, neighbour] = await Promise.all([subject.boot({ resources: { pids: 48 } }), subject.boot()]);
      // A limit that does not hold is found by a number of processes that harms nobody, before the bomb is lit.
      const many = await bombed.guest.spawn({ command: "i=0; while [ $i -lt 200 ]; do sleep 600 & i=$((i+1)); done; wait" });
      await expect.poll(async () => (await subject.provider.usage(bombed.box.handle)).pids ?? 0).toBeGreaterThan(20);
      expect((await subject.provider.usage(bombed.box.handle)).pids).toBeLessThanOrEqual(48);
      await bombed.guest.kill(many.id, { signal: "KILL" });
      await expect
        .poll(async () => subject.text(bombed.guest, "ls /proc | grep -c '^[0-9]'").catch(() => "full"), { interval: 100 })
        .toMatch(/^\d+\n$/);
      // The leader's own child is there before the bomb, so that the leader lives until its timeout.
      const bomb = { command: "sleep 600 & p=$!; b() { b | b & }; b; wait $p", timeoutMs: 3000 };
      await expect
        .poll(
          () =>
            bombed.guest.spawn(bomb).then(
              () => "lit",
              () => "full",
            ),
          { interval: 100 },
        )
        .toBe("lit");
      for (let i = 0; i < 5; i++) expect(await subject.text(neighbour.guest, `echo ${i}`)).toBe(`${i}\n`);
      // Where no control group counts, processes are counted one by one while they come and go: a bomb may look larger once.
      await expect.poll(async () => (await subject.provider.usage(bombed.box.handle)).pids ?? 0).toBeLessThanOrEqual(48);
      await expect
        .poll(async () => subject.text(bombed.guest, "echo recovered").catch(() => "not yet"), { interval: 200 })
        .toBe("recovered\n");
      await subject.destroy(bombed);
      await subject.destroy(neighbour);
    });

    it("cpu: a spinner gets its share and no more", async (context) => {
      const subject = get();
      subject.needs(context, "limit_cpu");
      const booted = await subject.boot({ resources: { vcpus: 0.25 } });
      const before = (await subject.provider.usage(booted.box.handle)).cpuMs;
      const { exit } = await subject.run(booted.guest, { command: "while :; do :; done", timeoutMs: 2000 });
      const after = (await subject.provider.usage(booted.box.handle)).cpuMs;
      context.skip(before === null || after === null, "it does not tell its cpu time");
      const share = ((after ?? 0) - (before ?? 0)) / exit.durationMs;
      expect(share).toBeLessThan(0.45);
      await subject.destroy(booted);
    });

    it("a box that was filled to its limits is destroyed without a trace", async (context) => {
      const subject = get();
      subject.needs(context, "limit_pids");
      const booted = await subject.boot({ resources: { pids: 32 } });
      await booted.guest.spawn({ command: "trap '' TERM HUP INT; for i in $(seq 1 60); do sleep 600 & done; sleep 600" });
      await subject.destroy(booted);
      expect((await subject.provider.list()).map((box) => box.sandboxId)).not.toContain(booted.spec.sandboxId);
    });
  });
}
