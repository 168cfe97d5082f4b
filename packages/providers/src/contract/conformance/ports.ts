import { describe, expect, it } from "vitest";
import { codeOf, type Subject } from "./subject.ts";

/** Listens at a port the kernel chooses, says which, and waits for the end of its input. */
const LISTENER = [
  "import socket, sys",
  "s = socket.create_server(('127.0.0.1', 0))",
  "print(s.getsockname()[1], flush=True)",
  "sys.stdin.read()",
].join("\n");

/** Which ports listen inside a box. */
export function portCases(get: () => Subject): void {
  describe("ports", () => {
    it("that listen are listed with who listens, as long as they do", async (context) => {
      const subject = get();
      subject.needsWall(context);
      const { guest } = await subject.shared();
      const python = await subject.run(guest, "command -v python3");
      context.skip(python.exit.code !== 0, "the box has no python3 to listen with");
      const process = await guest.exec({ argv: ["python3", "-c", LISTENER], stdin: true });
      const output = process[Symbol.asyncIterator]();
      const first = await output.next();
      const port = Number(first.value?.type === "output" ? Buffer.from(first.value.bytes).toString() : "0");
      expect(port).toBeGreaterThan(0);
      const found = (await guest.ports()).filter((candidate) => candidate.port === port);
      const user = (await subject.text(guest, "id -un || id -u")).trim();
      expect(found).toEqual([{ port, address: "127.0.0.1", pid: process.pid, command: expect.stringMatching(/^python3/), user }]);
      process.closeInput();
      await guest.wait(process.id);
      expect((await guest.ports()).some((candidate) => candidate.port === port)).toBe(false);
      expect(await codeOf(guest.dial({ network: "tcp", port }))).toBe("connection_refused");
    });

    it("none are listed in a box where nothing listens", async () => {
      const subject = get();
      const booted = await subject.boot();
      expect(await booted.guest.ports()).toEqual([]);
      await subject.destroy(booted);
    });
  });
}
