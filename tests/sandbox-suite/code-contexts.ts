import { once } from "node:events";
import type { Sandbox } from "@caisson/sdk";
import type { CodeOutcome, CodeRecord } from "@caisson/contract";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ApiAccess } from "../harness/api-access.ts";
import type { SandboxTarget } from "./sandbox-target.ts";

/** The records of a streamed run. */
async function* records(response: Response): AsyncGenerator<CodeRecord> {
  let rest = "";
  const decoder = new TextDecoder();
  for await (const chunk of response.body ?? []) {
    const lines = (rest + decoder.decode(chunk as Uint8Array, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) yield JSON.parse(line) as CodeRecord;
  }
}

/** Code that is run in contexts which keep their state. */
export function codeContexts(target: () => SandboxTarget): void {
  let api: ApiAccess;
  let sandbox: Sandbox;
  beforeAll(async () => {
    ({ api } = target());
    sandbox = await target().create();
  });
  afterAll(() => sandbox.destroy());

  describe("code contexts", () => {
    test("answers in one piece, or as a stream that ends with end", async () => {
      const path = `/sandboxes/${sandbox.id}/code`;
      const code = "print('hi')\nimport sys; print('err', file=sys.stderr)\n6 * 7";
      const outcome = await api.json<CodeOutcome>("POST", path, { code });
      expect(outcome).toMatchObject({ status: "ok", stdout: "hi\n", stderr: "err\n", error: null, context_ended: false });
      expect(outcome.results).toEqual([{ is_main_result: true, formats: { "text/plain": "42", "application/json": 42 }, omitted: [] }]);
      const seen: CodeRecord[] = [];
      for await (const record of records(await api.fetch("POST", path, { code, stream: true }))) seen.push(record);
      expect(seen[0]?.type).toBe("start");
      expect(seen.at(-1)).toMatchObject({ type: "end", status: "ok", context_id: outcome.context_id });
      expect(seen.filter((record) => record.type === "end")).toHaveLength(1);
    });

    test("each language and user has a default context; others are apart", async () => {
      await sandbox.code.run("who = 'default'");
      const own = await sandbox.code.createContext({ env: { A: "b" }, cwd: "/tmp" });
      expect(own).toMatchObject({ language: "python", is_default: false, workdir: "/tmp", user: "user" });
      expect((await sandbox.code.run("who", { context: own })).error?.name).toBe("NameError");
      expect((await sandbox.code.run("import os; os.environ['A'] + os.getcwd()", { context: own })).text).toBe("'b/tmp'");
      expect((await sandbox.code.run("who")).text).toBe("'default'");
      expect((await sandbox.code.run("id -un", { language: "shell", user: "root" })).stdout).toBe("root\n");
      expect((await sandbox.code.run("id -un", { language: "shell" })).stdout).toBe("user\n");
      const listed = await sandbox.code.contexts();
      expect(listed.filter((context) => context.is_default).map((context) => context.language).toSorted()).toEqual(["python", "shell", "shell"]); // prettier-ignore
      const fresh = await sandbox.code.restart(own.context_id, { env: { A: "c" } });
      expect(fresh).toMatchObject({ language: "python", workdir: "/tmp", is_default: false });
      expect((await sandbox.code.run("import os; os.environ['A']", { context: fresh })).text).toBe("'c'");
      await sandbox.code.remove(fresh.context_id);
      for (const id of [own.context_id, fresh.context_id]) {
        await expect(sandbox.code.run("1", { context: id })).rejects.toMatchObject({ code: "context_not_found" });
        await expect(sandbox.code.interrupt(id)).rejects.toMatchObject({ code: "context_not_found" });
      }
    });

    test("refuses what cannot be", async () => {
      const { context_id } = await sandbox.code.createContext();
      const refused = async (body: object): Promise<unknown> => (await api.fetch("POST", `/sandboxes/${sandbox.id}/code`, body)).json();
      expect(await refused({ code: "1", context_id, language: "shell" })).toMatchObject({
        code: "invalid_request",
        errors: [{ path: "language" }],
      });
      expect(await refused({ code: "1", context_id, user: "root" })).toMatchObject({ code: "invalid_request", errors: [{ path: "user" }] });
      expect(await refused({ code: "1", language: "cobol" })).toMatchObject({ code: "invalid_request" });
      expect(await refused({ code: "1", user: "nobody-here" })).toMatchObject({ code: "no_such_user" });
      // Another process of the sandbox is no context.
      const { process_id } = await sandbox.commands.spawn("sleep 60");
      expect(await refused({ code: "1", context_id: process_id })).toMatchObject({ code: "context_not_found" });
    });

    test("an interpreter that the image lacks is named", async () => {
      await using other = await target().create({ image: "host" });
      await other.code.run("export PATH=/nowhere", { language: "shell" });
      const error = await other.code.createContext({ language: "python", env: { PATH: "/nowhere" } }).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: "unsupported", status: 422, message: expect.stringContaining("python3") as unknown });
    });

    test.each([
      ["python", "print('begun', flush=True)\nwhile True: pass"],
      ["javascript", "console.log('begun'); while (true) {}"],
      ["shell", "echo begun; while :; do :; done"],
    ] as const)("%s is interrupted when its caller leaves, and keeps its state", async (language, code) => {
      const context = await sandbox.code.createContext({ language });
      for await (const event of sandbox.code.stream(code, { context })) if (event.type === "stdout") break;
      const next = await sandbox.code.run(
        language === "python" ? "print('alive')" : language === "shell" ? "echo alive" : "console.log('alive')",
        { context },
      );
      expect(next).toMatchObject({ status: "ok", stdout: "alive\n", contextId: context.context_id });
    });

    test("calls at once run in order", async () => {
      const context = await sandbox.code.createContext();
      await sandbox.code.run("seen = []", { context });
      await Promise.all([...Array(8).keys()].map((n) => sandbox.code.run(`seen.append(${n})`, { context })));
      expect((await sandbox.code.run("sorted(seen)", { context })).text).toBe("[0, 1, 2, 3, 4, 5, 6, 7]");
    });

    test("50 MB of output come through a stream whole; one answer holds 16 MiB and says so", { timeout: 300_000 }, async () => {
      const code = "import os\npiece = b'0123456789abcde\\n' * 4096\nfor _ in range(800): os.write(1, piece)";
      let size = 0;
      for await (const event of sandbox.code.stream(code)) if (event.type === "stdout") size += event.text.length;
      expect(size).toBe(800 * 65_536);
      const outcome = await api.json<CodeOutcome>("POST", `/sandboxes/${sandbox.id}/code`, { code });
      expect([outcome.status, outcome.stdout.length, outcome.stdout_truncated]).toEqual(["ok", 16_777_216, true]);
    });

    test("binary garbage and marks of frames harm nobody", async () => {
      const code = "import os\nfor fd in (1, 2):\n  for _ in range(50): os.write(fd, os.urandom(2000) + b'\\x1e' * 50)";
      const outcome = await api.json<CodeOutcome>("POST", `/sandboxes/${sandbox.id}/code`, { code });
      expect(outcome.status).toBe("ok");
      expect((await sandbox.code.run("6 * 7")).text).toBe("42");
    });

    test("a fork bomb is held, and only its context is lost", async () => {
      await using bombed = await target().create({ image: "host", pids: 64 });
      const outcome = await bombed.code.run("import os\nwhile True:\n  try: os.fork()\n  except OSError: pass", { timeout: "1s" });
      expect(outcome.status).toBe("timed_out");
      expect((await bombed.code.run("6 * 7")).text).toBe("42");
    });

    test("a client that goes away does not end the code; its timeout does", async () => {
      const context = await sandbox.code.createContext();
      const leaving = new AbortController();
      const body = { code: "print('begun', flush=True)\nwhile True: pass", context_id: context.context_id, timeout: "500ms", stream: true };
      const response = await api.fetch("POST", `/sandboxes/${sandbox.id}/code`, body, { signal: leaving.signal });
      const reader = response.body?.getReader();
      await reader?.read();
      const gone = once(leaving.signal, "abort");
      leaving.abort();
      await gone;
      expect(await sandbox.code.run("'next'", { context })).toMatchObject({ status: "ok", text: "'next'" });
    });
  });
}
