import type { GuestClient, ProcessLimits } from "@caisson/guest";
import { describe, expect, it } from "vitest";
import { bytesOf, codeOf, drain, type Outcome, type Subject } from "./subject.ts";

/** Waiting for processes, and limits of a single process. */
export function waitingCases(get: () => Subject): void {
  describe("waiting", () => {
    it("for the end of a process takes any number of waiters and none of its output", async () => {
      const { guest } = await get().shared();
      const { id } = await guest.spawn({ command: "cat; exit 7", stdin: true });
      const waiting = Array.from({ length: 5 }, () => guest.wait(id));
      await guest.writeInput(id, bytesOf("out"));
      await guest.closeInput(id);
      for (const exit of await Promise.all(waiting)) expect(exit).toMatchObject({ code: 7, signal: null, stdoutBytes: 3 });
      expect(await guest.wait(id)).toEqual((await guest.session(id)).exit);
      expect((await drain(await guest.attach(id))).out.toString()).toBe("out");
    });

    it("ends with its deadline, and knows what it waits for", async () => {
      const { guest } = await get().shared();
      const { id } = await guest.spawn({ command: "sleep 600" });
      expect(await codeOf(guest.wait(id, { deadlineMs: 50 }))).toBe("deadline_exceeded");
      const waiting = guest.wait(id);
      await guest.kill(id, { signal: "KILL" });
      expect(await waiting).toMatchObject({ code: null, signal: "KILL" });
      expect(await codeOf(guest.wait(9_999_999))).toBe("process_not_found");
    });
  });

  describe("limits of a process", () => {
    const limited = async (guest: GuestClient, command: string, limits: ProcessLimits): Promise<Outcome> =>
      drain(await guest.exec({ command, limits, timeoutMs: 50_000 }));

    it("hold, or are refused", { timeout: 240_000 }, async () => {
      const subject = get();
      const { guest } = await subject.shared();
      if (subject.report.tier === "none") {
        expect(await codeOf(guest.exec({ command: "true", limits: { openFiles: 9 } }))).toBe("unsupported");
        return;
      }
      expect((await limited(guest, "while :; do :; done", { cpuSeconds: 1 })).exit.signal).toBe("XCPU");
      const files = await limited(guest, "exec 3</dev/null; exec 4</dev/null; echo two; exec 5</dev/null; echo three", { openFiles: 5 });
      expect(files.out.toString()).toBe("two\n");
      const file = await limited(guest, "head -c 2000000 /dev/zero > /tmp/limited; wc -c < /tmp/limited", { fileBytes: 1_000_000 });
      expect(file.out.toString().trim()).toBe("1000000");
      const hog = "head -c 300000000 /dev/zero | tail -c 299999999 | wc -c";
      expect((await limited(guest, hog, { memoryBytes: 100_000_000 })).out.toString().trim()).not.toBe("299999999");
    });

    it("are never raised", async (context) => {
      const subject = get();
      subject.needsWall(context);
      const { guest } = await subject.shared();
      const hard = Number(await subject.text(guest, "ulimit -Hn"));
      expect(await codeOf(guest.exec({ command: "true", limits: { openFiles: hard + 1 } }))).toBe("invalid_argument");
      expect((await limited(guest, "ulimit -n", { openFiles: hard })).out.toString()).toBe(`${hard}\n`);
      expect(await codeOf(guest.exec({ command: "true", limits: { cpuSeconds: 0 } }))).toBe("invalid_argument");
    });
  });
}
