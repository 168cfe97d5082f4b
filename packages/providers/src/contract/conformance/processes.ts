import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { bytesOf, codeOf, drain, type Subject } from "./subject.ts";

const MIB = 1_048_576;

/** Starting processes, their streams and how they end. */
export function processCases(get: () => Subject): void {
  describe("processes", () => {
    it.each([0, 1, 77, 255])("exit with %i", async (code) => {
      const { guest } = await get().shared();
      expect((await get().run(guest, `exit ${code}`)).exit).toMatchObject({ code, signal: null, timedOut: false });
    });

    it("that cannot be executed end with 127 or 126 and say why", async () => {
      const { guest } = await get().shared();
      const missing = await get().run(guest, { argv: ["no-such-program"] });
      expect([missing.exit.code, missing.err.length > 0]).toEqual([127, true]);
      const data = await get().run(guest, { argv: ["/etc/passwd"] });
      expect([data.exit.code, data.err.length > 0]).toEqual([126, true]);
    });

    it("killed by a signal name it", async () => {
      const { guest } = await get().shared();
      expect((await get().run(guest, "kill -9 $$")).exit).toMatchObject({ code: null, signal: "KILL" });
      const sleeping = await guest.exec({ command: "echo up; sleep 600" });
      const output = sleeping[Symbol.asyncIterator]();
      await output.next();
      expect(await guest.kill(sleeping.id, { signal: "TERM" })).toBeGreaterThan(0);
      expect(await output.next()).toMatchObject({ value: { type: "exit", exit: { code: null, signal: "TERM" } } });
      // What the leader left dies a moment later; then nobody is there to get a signal.
      await expect.poll(() => guest.kill(sleeping.id)).toBe(0);
      expect(await codeOf(guest.kill(9_999_999))).toBe("process_not_found");
      expect(await codeOf(guest.kill(sleeping.id, { signal: "NOPE" }))).toBe("invalid_argument");
    });

    it("may ignore TERM, not KILL", async () => {
      const { guest } = await get().shared();
      const stubborn = await guest.exec({ command: "trap '' TERM; echo ready; cat; sleep 600", stdin: true });
      const output = stubborn[Symbol.asyncIterator]();
      await output.next();
      await guest.kill(stubborn.id);
      expect((await guest.session(stubborn.id)).exit).toBeNull();
      await guest.kill(stubborn.id, { signal: "KILL" });
      expect(await output.next()).toMatchObject({ value: { type: "exit", exit: { signal: "KILL" } } });
    });

    it("stream: a chunk arrives while the process still waits", async () => {
      const { guest } = await get().shared();
      const process = await guest.exec({ command: "echo first; cat", stdin: true });
      const output = process[Symbol.asyncIterator]();
      expect(await output.next()).toMatchObject({ value: { type: "output", stream: "stdout", offset: 0 } });
      await process.write(Buffer.from("second"));
      expect(await output.next()).toMatchObject({ value: { type: "output", offset: 6 } });
      process.closeInput();
      expect(await output.next()).toMatchObject({ value: { type: "exit", exit: { code: 0, stdoutBytes: 12, stderrBytes: 0 } } });
    });

    it("carry all byte values, on both streams", async () => {
      const { guest } = await get().shared();
      const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
      const process = await guest.exec({ command: "cat; printf '\\377\\000\\n' >&2", stdin: true });
      await process.write(bytes);
      process.closeInput();
      const { out, err } = await drain(process);
      expect([out, err]).toEqual([bytes, Buffer.from([255, 0, 10])]);
    });

    it("have an empty stdin unless asked", async () => {
      const { guest } = await get().shared();
      expect(await get().text(guest, "cat | wc -c")).toMatch(/^\s*0\n$/);
    });

    it("take input from another call, until it is closed", async () => {
      const { guest } = await get().shared();
      const { id } = await guest.spawn({ command: "cat; echo end", stdin: true });
      expect(await guest.writeInput(id, bytesOf("a", "", "bc"))).toBe(3);
      expect(await guest.writeInput(id, bytesOf("d"))).toBe(1);
      await guest.closeInput(id);
      expect((await drain(await guest.attach(id))).out.toString()).toBe("abcdend\n");
      expect(await codeOf(guest.writeInput(id, bytesOf("late")))).toBe("conflict");
    });

    it("carry 16 MiB byte-exact", async () => {
      const { guest } = await get().shared();
      const block = Buffer.from(Array.from({ length: 65_536 }, (_, i) => (i * 31 + (i >> 8)) & 255));
      const process = await guest.exec({ command: "cat", stdin: true });
      const sent = createHash("sha256");
      const sending = (async () => {
        for (let i = 0; i < (16 * MIB) / block.length; i++) {
          const piece = Uint8Array.from(block);
          piece.set([i & 255, i >> 8], 0);
          sent.update(piece);
          await process.write(piece);
        }
        process.closeInput();
      })();
      const { out, exit } = await drain(process);
      await sending;
      expect([out.length, exit.stdoutBytes]).toEqual([16 * MIB, 16 * MIB]);
      expect(createHash("sha256").update(out).digest("hex")).toBe(sent.digest("hex"));
    });

    it("wait for a slow reader, and lose nothing", async () => {
      const { guest } = await get().shared();
      const process = await guest.exec({ command: "yes 0123456789abcde | head -c 3000000", outputLimit: 65_536 });
      const output = process[Symbol.asyncIterator]();
      const first = await output.next();
      // The writer can only be ahead by the log, the window and the pipes between.
      expect((await guest.session(process.id)).stdout.end).toBeLessThan(1_500_000);
      let size = first.value?.type === "output" ? first.value.bytes.length : 0;
      for (let next = await output.next(); next.done !== true; next = await output.next()) {
        if (next.value.type === "output") size += next.value.bytes.length;
        if (next.value.type === "exit") break;
      }
      expect(size).toBe(3_000_000);
    });

    it("in the background drop the oldest output and say how much", async () => {
      const { guest } = await get().shared();
      const { id } = await guest.spawn({ command: "yes 0123456789abcde | head -c 1000000", outputLimit: 100_000 });
      await expect.poll(async () => (await guest.session(id)).exit?.code).toBe(0);
      const { out, gaps, exit } = await drain(await guest.attach(id));
      const dropped = gaps.reduce((sum, gap) => sum + gap.to - gap.from, 0);
      expect([dropped + out.length, exit.stdoutBytes]).toEqual([1_000_000, 1_000_000]);
      expect(out.length).toBeLessThanOrEqual(100_000);
      const from = await drain(await guest.attach(id, { stdoutOffset: 999_998, follow: false }));
      expect([from.out.length, from.gaps]).toEqual([2, []]);
    });

    it("are listed with what they were started with", async () => {
      const { guest } = await get().shared();
      const { id } = await guest.spawn({ argv: ["sleep", "600"], cwd: "/tmp", tag: "mine" });
      expect(await guest.session(id)).toMatchObject({
        id,
        argv: ["sleep", "600"],
        command: null,
        cwd: "/tmp",
        tag: "mine",
        pty: false,
        exit: null,
      });
      expect((await guest.sessions()).map((session) => session.id)).toContain(id);
      await guest.kill(id, { signal: "KILL" });
    });

    it("time out, and say so", async () => {
      const { guest } = await get().shared();
      const { out, exit } = await get().run(guest, { command: "echo started; sleep 600", timeoutMs: 4_000 });
      expect([out.toString(), exit]).toMatchObject(["started\n", { code: null, signal: "KILL", timedOut: true }]);
      expect(exit.durationMs).toBeGreaterThanOrEqual(3_990);
      expect(exit.durationMs).toBeLessThan(60_000);
    });

    it("end with their connection only when asked to", async () => {
      const subject = get();
      const { box, guest } = await subject.shared();
      const other = await subject.connect(box);
      const [ends, stays] = await Promise.all([
        other.guest.exec({ command: "sleep 600", killOnDisconnect: true }),
        other.guest.exec({ command: "sleep 600" }),
      ]);
      other.link.close();
      expect((await drain(await guest.attach(ends.id))).exit.signal).toBe("KILL");
      expect((await guest.session(stays.id)).exit).toBeNull();
      await guest.kill(stays.id, { signal: "KILL" });
    });

    it("get the box's environment and their own", async () => {
      const { guest } = await get().shared();
      const text = await get().text(guest, { command: 'echo "$BASE_VARIABLE|$OWN|$HOME"', env: { OWN: "ünï 'quoted'" } });
      expect(text).toMatch(/^from the box\|ünï 'quoted'\|\/.*\n$/);
      expect(await get().text(guest, { command: "echo $BASE_VARIABLE", env: { BASE_VARIABLE: "changed" } })).toBe("changed\n");
    });

    it("run in the directory and on the host name asked for", async () => {
      const { guest } = await get().shared();
      expect(await get().text(guest, { command: "pwd; hostname", cwd: "/tmp" })).toBe("/tmp\nbox\n");
      expect(await codeOf(guest.exec({ command: "true", cwd: "/no/such/place" }))).toBe("file_not_found");
      expect(await codeOf(guest.exec({ command: "true", cwd: "relative" }))).toBe("invalid_argument");
    });

    it("run as the user asked for", async (context) => {
      const subject = get();
      const { guest } = await subject.shared();
      expect(await codeOf(guest.exec({ command: "true", user: "nobody-of-this-name" }))).toBe("no_such_user");
      subject.needs(context, "users");
      expect(await subject.text(guest, "id -u; id -un")).toBe("1000\nuser\n");
      expect(await subject.text(guest, { command: "id -u", user: "root" })).toBe("0\n");
      expect(await subject.text(guest, { command: "id -u; id -g", user: "1234:567" })).toBe("1234\n567\n");
      const booted = await subject.boot({ user: "root", workdir: "/var" });
      expect(await subject.text(booted.guest, "id -u; pwd")).toBe("0\n/var\n");
      await subject.destroy(booted);
    });

    it("refuse what makes no sense", async () => {
      const { guest } = await get().shared();
      for (const spec of [{}, { argv: [] }, { argv: ["a"], command: "b" }, { argv: [""] }, { command: "true", timeoutMs: 0 }])
        expect(await codeOf(guest.exec(spec))).toBe("invalid_argument");
    });

    it("run 60 at once, each with its own output and exit", async () => {
      const { guest } = await get().shared();
      const outcomes = await Promise.all(
        Array.from({ length: 60 }, (_, i) => get().run(guest, `echo line ${i}; echo e${i} >&2; exit ${i}`)),
      );
      const found = outcomes.map((o) => [o.out.toString(), o.err.toString(), o.exit.code]);
      expect(found).toEqual(outcomes.map((_, i) => [`line ${i}\n`, `e${i}\n`, i]));
    });

    it("speak to a terminal", async (context) => {
      const subject = get();
      subject.needs(context, "pty");
      const { guest } = await subject.shared();
      const process = await guest.exec({
        command: "test -t 0 && stty size; read x; stty size; echo got $x",
        pty: { cols: 91, rows: 27 },
        stdin: true,
      });
      const output = process[Symbol.asyncIterator]();
      let text = "";
      const until = async (wanted: string): Promise<void> => {
        while (!text.includes(wanted)) {
          const { done, value } = await output.next();
          if (done === true) throw new Error(`The terminal ended with ${JSON.stringify(text)}`);
          if (value.type === "output") text += Buffer.from(value.bytes).toString();
        }
      };
      await until("27 91\r\n");
      await guest.resize(process.id, 100, 30);
      await process.write(Buffer.from("hey\n"));
      await until("30 100\r\ngot hey\r\n");
      expect(await output.next()).toMatchObject({ value: { type: "exit", exit: { code: 0 } } });
    });
  });
}
