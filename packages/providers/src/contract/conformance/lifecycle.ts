import { describe, expect, it } from "vitest";
import { bytesOf, codeOf, drain, readText, type Subject } from "./subject.ts";

/** Starting, finding again, stopping and destroying boxes. */
export function lifecycleCases(get: () => Subject): void {
  describe("lifecycle", () => {
    it("starts a box whose agent answers, and lists it", async () => {
      const subject = get();
      const booted = await subject.boot();
      expect(booted.box).toMatchObject({ sandboxId: booted.spec.sandboxId, epoch: 1, status: "running" });
      expect((await booted.guest.stats()).uptimeMs).toBeGreaterThanOrEqual(0);
      const listed = (await subject.provider.list()).find((box) => box.sandboxId === booted.spec.sandboxId);
      expect(listed).toMatchObject({ epoch: 1, status: "running", handle: booted.box.handle });
      await subject.destroy(booted);
      expect((await subject.provider.list()).map((box) => box.sandboxId)).not.toContain(booted.spec.sandboxId);
    });

    it("gives a handle that survives being written down", async () => {
      const subject = get();
      const { box } = await subject.shared();
      const handle = JSON.parse(JSON.stringify(box.handle)) as typeof box.handle;
      expect(handle).toEqual(box.handle);
      expect(await subject.provider.recover(handle)).toMatchObject({ sandboxId: box.sandboxId, status: "running" });
    });

    it("starts the same id and epoch once, also at the same time", async () => {
      const subject = get();
      const booted = await subject.boot();
      await booted.guest.writeFile("/tmp/marker", bytesOf("first"));
      await Promise.all([subject.start(booted.spec), subject.start(booted.spec)]);
      const again = await subject.connect(await subject.start(booted.spec));
      expect(await readText(again.guest, "/tmp/marker")).toBe("first");
      expect((await subject.provider.list()).filter((box) => box.sandboxId === booted.spec.sandboxId)).toHaveLength(1);
      const spec = subject.spec();
      const both = await Promise.all([subject.start(spec), subject.start(spec)]);
      expect(both.map((box) => box.status)).toEqual(["running", "running"]);
      expect((await subject.provider.list()).filter((box) => box.sandboxId === spec.sandboxId)).toHaveLength(1);
      await subject.destroy(booted);
      await subject.destroy({ box: both[0] });
    });

    it("replaces a lower epoch by a higher one and refuses a lower one", async () => {
      const subject = get();
      const first = await subject.boot({ epoch: 3 });
      await first.guest.writeFile("/tmp/marker", bytesOf("old"));
      const second = await subject.boot({ ...first.spec, epoch: 4 });
      expect(await codeOf(second.guest.stat("/tmp/marker"))).toBe("file_not_found");
      expect(await codeOf(subject.start({ ...first.spec, epoch: 3 }))).toBe("lease_lost");
      expect(await subject.provider.recover(first.box.handle)).toBeUndefined();
      expect(await codeOf(subject.provider.connect(first.box.handle))).toBe("agent_unreachable");
      await subject.provider.destroy(first.box.handle);
      expect((await second.guest.stats()).uptimeMs).toBeGreaterThanOrEqual(0);
      await subject.destroy(second);
    });

    it("stops: processes end, files stay, the same epoch boots again on them", async () => {
      const subject = get();
      const booted = await subject.boot();
      await booted.guest.writeFile("/home/user/kept", bytesOf("kept"));
      await booted.guest.spawn({ command: "sleep 600" });
      await subject.provider.stop(booted.box.handle);
      await subject.provider.stop(booted.box.handle);
      expect((await booted.link.closed).code).toBe("agent_unreachable");
      expect(await codeOf(subject.provider.connect(booted.box.handle))).toBe("agent_unreachable");
      const listed = (await subject.provider.list()).find((box) => box.sandboxId === booted.spec.sandboxId);
      expect(listed?.status).toBe("stopped");
      const again = await subject.connect(await subject.start(booted.spec));
      expect(await readText(again.guest, "/home/user/kept")).toBe("kept");
      expect(await again.guest.sessions()).toEqual([]);
      await subject.destroy(booted);
    });

    it("shows a box whose agent ended as stopped", async () => {
      const subject = get();
      const booted = await subject.boot();
      await booted.guest.shutdown(0);
      await booted.link.closed;
      await expect.poll(async () => (await subject.provider.recover(booted.box.handle))?.status).toBe("stopped");
      await subject.destroy(booted);
    });

    it("destroys more than once, and what it does not know", async () => {
      const subject = get();
      const booted = await subject.boot();
      await Promise.all([subject.destroy(booted), subject.destroy(booted)]);
      await subject.destroy(booted);
      expect(await subject.provider.recover(booted.box.handle)).toBeUndefined();
      expect(await codeOf(subject.provider.connect(booted.box.handle))).toBe("agent_unreachable");
    });

    it("fails a start that was given up before, leaving nothing", async () => {
      const subject = get();
      const spec = subject.spec();
      expect(await codeOf(subject.provider.start(spec, AbortSignal.abort()))).not.toBe("no error");
      expect((await subject.provider.list()).map((box) => box.sandboxId)).not.toContain(spec.sandboxId);
    });

    it("refuses a runtime it does not have, before anything is made", async () => {
      const subject = get();
      const spec = subject.spec({ runtime: "no-such-runtime" });
      expect(await codeOf(subject.provider.start(spec))).toBe("unsupported");
      expect((await subject.provider.list()).map((box) => box.sandboxId)).not.toContain(spec.sandboxId);
    });

    it("tells usage and console", async () => {
      const subject = get();
      const { box } = await subject.shared();
      expect(Object.keys(await subject.provider.usage(box.handle)).sort()).toEqual(["cpuMs", "memoryBytes", "oomKills", "pids"]);
      const { lines, end } = await subject.provider.console(box.handle, { lines: 5 });
      expect(lines.length).toBeLessThanOrEqual(5);
      expect(await subject.provider.console(box.handle, { after: end, limit: 5 })).toMatchObject({ truncated: false });
    });

    it("freezes and thaws", async (context) => {
      const subject = get();
      subject.needs(context, "freeze");
      const booted = await subject.boot();
      const { provider } = subject;
      await provider.freeze?.(booted.box.handle);
      await provider.freeze?.(booted.box.handle);
      expect((await provider.recover(booted.box.handle))?.status).toBe("paused");
      expect(await codeOf(booted.guest.stat("/", { deadlineMs: 300 }))).toBe("deadline_exceeded");
      await provider.thaw?.(booted.box.handle);
      await provider.thaw?.(booted.box.handle);
      expect((await provider.recover(booted.box.handle))?.status).toBe("running");
      expect((await booted.guest.stat("/")).type).toBe("directory");
      await subject.destroy(booted);
    });

    it("is found again by a new instance: processes live, output continues at its offset", async (context) => {
      const subject = get();
      subject.needs(context, "survives_restart");
      const booted = await subject.boot();
      const process = await booted.guest.exec({ command: "echo before; cat; exit 7", stdin: true });
      const output = process[Symbol.asyncIterator]();
      expect(await output.next()).toMatchObject({ value: { type: "output", offset: 0 } });
      booted.link.close();
      expect(await codeOf(output.next())).toBe("agent_unreachable");
      subject.provider = await subject.harness.restart();
      expect((await subject.provider.list()).map((box) => box.sandboxId)).toContain(booted.spec.sandboxId);
      const recovered = await subject.provider.recover(booted.box.handle);
      expect(recovered).toMatchObject({ sandboxId: booted.spec.sandboxId, epoch: 1, status: "running" });
      const { guest } = await subject.connect(booted.box);
      expect((await guest.session(process.id)).pid).toBe(process.pid);
      await guest.writeInput(process.id, bytesOf("after\n"));
      await guest.closeInput(process.id);
      const rest = await drain(await guest.attach(process.id, { stdoutOffset: 7 }));
      expect([rest.out.toString(), rest.exit.code, rest.exit.stdoutBytes]).toEqual(["after\n", 7, 13]);
      expect(await codeOf(subject.start({ ...booted.spec, epoch: 0 }))).toBe("lease_lost");
      await subject.destroy(booted);
    });

    it("does not recover what is not there", async () => {
      const subject = get();
      const booted = await subject.boot();
      await subject.destroy(booted);
      subject.provider = await subject.harness.restart();
      expect(await subject.provider.recover(booted.box.handle)).toBeUndefined();
    });
  });
}
