import { createHash } from "node:crypto";
import { CaissonApiError, type CommandResult, type Sandbox } from "@caisson/sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { countingCommand, countingSha256 } from "../harness/counting.ts";
import type { SandboxTarget } from "./sandbox-target.ts";

const AT_ONCE = 48;

/** Commands: their output, their input and their end. */
export function commands(target: () => SandboxTarget): void {
  let sandbox: Sandbox;
  beforeAll(async () => {
    sandbox = await target().create();
  });
  afterAll(() => sandbox.destroy());

  describe("a command", () => {
    it("has an environment, a folder, a user, two streams and an exit code", async () => {
      const line = 'echo "$GREETING from $(pwd) as $(id -un)"; echo wrong >&2; exit 7';
      const ran = await sandbox.commands.run(line, { env: { GREETING: "hello" }, cwd: "/tmp", user: "root" });
      expect(ran).toMatchObject({ stdout: "hello from /tmp as root\n", stderr: "wrong\n", exitCode: 7, signal: null });
      expect((await sandbox.commands.run(["printf", "%s|", "a b", "$HOME", ""])).stdout).toBe("a b|$HOME||");
      expect((await sandbox.commands.run("kill -9 $$")).signal).toBe("KILL");
      expect((await sandbox.commands.run(["/no/such/program"])).exitCode).toBe(127);
    });

    it("ends with its whole tree when its time is over", async () => {
      const late = sandbox.commands.run("echo begun; (sleep 600 & sleep 600) & sleep 600", { timeout: "2s" });
      await expect(late).rejects.toMatchObject({ name: "CommandTimeoutError", result: { stdout: "begun\n" } });
      expect((await sandbox.commands.run("ps ax -o args | grep -c '^sleep 600' || true")).stdout).toBe("0\n");
    });

    it("takes a MiB of input and answers each byte", async () => {
      const input = Buffer.alloc(1_048_576, "some input; ");
      const ran = await sandbox.commands.run("sha256sum", { stdin: input });
      expect(ran.stdout).toBe(`${createHash("sha256").update(input).digest("hex")}  -\n`);
    });

    it("streams as it runs, and is taken up at an offset by another reader", async () => {
      const bytes = 8_000_000;
      const { process_id } = await sandbox.commands.spawn(`${countingCommand(bytes)}; exit 3`);
      const hash = createHash("sha256");
      let next = 0;
      for await (const event of sandbox.processes.attach(process_id)) {
        if (event.type !== "output") continue;
        hash.update(event.bytes);
        next += event.bytes.length;
        if (next > bytes / 3) break;
      }
      let exitCode: number | undefined;
      for await (const event of sandbox.processes.attach(process_id, { from: { stdout: next } })) {
        if (event.type === "exit") ({ exitCode } = event);
        if (event.type !== "output") continue;
        expect(event.offset).toBe(next);
        hash.update(event.bytes);
        next += event.bytes.length;
      }
      expect([next, hash.digest("hex"), exitCode]).toEqual([bytes, countingSha256(bytes), 3]);
    });

    it(`is kept apart from ${AT_ONCE - 1} others at once`, async () => {
      const run = (i: number): Promise<CommandResult> => sandbox.commands.run(`echo out ${i}; echo err ${i} >&2; exit ${i}`);
      const all = await Promise.all(Array.from({ length: AT_ONCE }, (_, i) => run(i)));
      expect(all.map(({ stdout, stderr, exitCode }) => [stdout, stderr, exitCode])).toEqual(
        all.map((_, i) => [`out ${i}\n`, `err ${i}\n`, i]),
      );
    });

    it("is refused by name: no such user, no such folder, no such process", async () => {
      const code = (promise: Promise<unknown>): Promise<unknown> =>
        promise.then(
          () => "none",
          (error: unknown) => (error instanceof CaissonApiError ? error.code : error),
        );
      expect(await code(sandbox.commands.run("true", { user: "nobody-here" }))).toBe("no_such_user");
      expect(await code(sandbox.processes.get(9999))).toBe("process_not_found");
      expect(await code(target().api.json("POST", `/sandboxes/${sandbox.id}/exec`, { command: "true", argv: 1 }))).not.toBe("none");
    });
  });
}
