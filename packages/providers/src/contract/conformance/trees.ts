import { describe, expect, it } from "vitest";
import { drain, type Subject } from "./subject.ts";

/** Starts a daemon that leaves its session and its parent, beside a process that stays. */
function daemon(marker: string): string {
  return `(setsid sh -c 'sleep ${marker} & exec sleep ${marker}' </dev/null >/dev/null 2>&1 &); sleep ${marker}`;
}

/** Process trees: real processes only. */
export function treeCases(get: () => Subject): void {
  describe("process trees", () => {
    const count = async (subject: Subject, guest: Parameters<Subject["text"]>[0], marker: string): Promise<number> => {
      const script = `n=0; for f in /proc/[0-9]*/cmdline; do case "$(tr '\\0' ' ' <"$f" 2>/dev/null)" in "sleep ${marker} ") n=$((n+1));; esac; done; echo $n`;
      return Number(await subject.text(guest, script));
    };

    it("are killed whole by a timeout, a double-forked daemon included", async (context) => {
      const subject = get();
      subject.needsWall(context);
      const { guest } = await subject.shared();
      const { exit } = await subject.run(guest, { command: daemon("601.25"), timeoutMs: 700 });
      expect(exit).toMatchObject({ signal: "KILL", timedOut: true });
      expect(await count(subject, guest, "601.25")).toBe(0);
    });

    it("are killed whole by a signal, or only their leader", async (context) => {
      const subject = get();
      subject.needsWall(context);
      const { guest } = await subject.shared();
      const { id } = await guest.spawn({ command: daemon("602.25") });
      await expect.poll(() => count(subject, guest, "602.25")).toBe(3);
      expect(await guest.kill(id, { signal: "TERM", scope: "leader" })).toBe(1);
      await drain(await guest.attach(id));
      expect(await count(subject, guest, "602.25")).toBeGreaterThanOrEqual(2);
      await guest.kill(id, { signal: "KILL" });
      await expect.poll(() => count(subject, guest, "602.25")).toBe(0);
    });

    it("do not hold up the exit by a descendant that keeps the output open", async (context) => {
      const subject = get();
      subject.needsWall(context);
      const { guest } = await subject.shared();
      const { out, exit } = await subject.run(guest, "sleep 603.25 & echo done");
      expect([out.toString(), exit.code]).toEqual(["done\n", 0]);
      expect(exit.durationMs).toBeLessThan(60_000);
    });

    it("leave no zombie", async (context) => {
      const subject = get();
      subject.needsWall(context);
      const booted = await subject.boot();
      await Promise.all(Array.from({ length: 10 }, () => subject.run(booted.guest, "(true &) ; (sh -c 'true & true' &)")));
      const zombies = "grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l";
      await expect.poll(() => subject.text(booted.guest, zombies)).toMatch(/^\s*0\n$/);
      await subject.destroy(booted);
    });

    it("work from a directory that was deleted", async (context) => {
      const subject = get();
      subject.needsWall(context);
      const { guest } = await subject.shared();
      expect(await subject.text(guest, "mkdir /tmp/gone && cd /tmp/gone && rmdir /tmp/gone && echo alive")).toBe("alive\n");
    });

    it("carry one line of 64 MiB", async (context) => {
      const subject = get();
      subject.needsWall(context);
      const { guest } = await subject.shared();
      const process = await guest.exec({ command: "head -c 67108864 /dev/zero | tr '\\0' x" });
      let size = 0;
      for await (const item of process) if (item.type === "output") size += item.bytes.length;
      expect(size).toBe(67_108_864);
    });
  });
}
