import { execFile } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { Caisson, Sandbox } from "@caisson/sdk";
import type { CodeOutcome, CodeRecord } from "@caisson/contract";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TestServer } from "../harness/server.ts";

let server: TestServer;
let client: Caisson;
let sandbox: Sandbox;
const connect = (): Caisson => new Caisson({ url: server.url, apiKey: server.apiKey });

beforeAll(async () => {
  server = await TestServer.start();
  client = connect();
  sandbox = await Sandbox.create({ image: "host" }, { client });
});
afterAll(() => server[Symbol.asyncDispose]());

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

const CLI = join(import.meta.dirname, "../../packages/cli/bin/caisson.mjs");

/** Runs `caisson code` with its input closed after `input`. */
function cli(args: readonly string[], input = ""): Promise<{ readonly status: number; readonly stdout: string; readonly stderr: string }> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [CLI, "code", sandbox.id, ...args], { env: server.cliEnv }, (_error, stdout, stderr) =>
      resolve({ status: child.exitCode ?? -1, stdout, stderr }),
    );
    child.stdin?.end(input);
  });
}

describe("caisson code", () => {
  test("keeps state from call to call and shows values, errors and exit codes", async () => {
    expect(await cli(["-c", "x = 6 * 7; print('set')"])).toEqual({ status: 0, stdout: "set\n", stderr: "" });
    expect(await cli(["-c", "x"])).toEqual({ status: 0, stdout: "42\n", stderr: "" });
    expect(await cli(["-"], "x + 1")).toEqual({ status: 0, stdout: "43\n", stderr: "" });
    expect(await cli(["-c", "{'exit_code': 3}"])).toMatchObject({ status: 0, stdout: "{'exit_code': 3}\n" });
    const failed = await cli(["-c", "1 / 0"]);
    expect(failed).toMatchObject({ status: 1, stdout: "" });
    expect(failed.stderr).toContain("ZeroDivisionError");
    expect(await cli(["-l", "shell", "-c", "echo hi; exit_code() { return 3; }; exit_code"])).toEqual({
      status: 3,
      stdout: "hi\n",
      stderr: "",
    });
    expect(await cli(["--timeout", "300ms", "-c", "while True: pass"])).toMatchObject({ status: 124 });
    expect(JSON.parse((await cli(["--json", "-c", "x"])).stdout)).toMatchObject({ status: "ok", results: [{ is_main_result: true }] });
    expect(await cli(["-l", "cobol", "-c", "x"])).toMatchObject({ status: 125 });
    expect(await cli(["/no/such/file.py"])).toMatchObject({ status: 125, stderr: expect.stringContaining("cannot be read") as unknown });
  });
});

describe("code contexts", () => {
  test("answers in one piece, or as a stream that ends with end", async () => {
    const path = `/sandboxes/${sandbox.id}/code`;
    const code = "print('hi')\nimport sys; print('err', file=sys.stderr)\n6 * 7";
    const outcome = await server.json<CodeOutcome>("POST", path, { code });
    expect(outcome).toMatchObject({ status: "ok", stdout: "hi\n", stderr: "err\n", error: null, context_ended: false });
    expect(outcome.results).toEqual([{ is_main_result: true, formats: { "text/plain": "42", "application/json": 42 }, omitted: [] }]);
    const seen: CodeRecord[] = [];
    for await (const record of records(await server.fetch("POST", path, { code, stream: true }))) seen.push(record);
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
    const refused = async (body: object): Promise<unknown> => (await server.fetch("POST", `/sandboxes/${sandbox.id}/code`, body)).json();
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
    await using other = await Sandbox.create({ image: "host" }, { client });
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

  test("50 MB of output come through a stream whole; one answer holds 16 MiB and says so", { timeout: 120_000 }, async () => {
    const code = "import os\npiece = b'0123456789abcde\\n' * 4096\nfor _ in range(800): os.write(1, piece)";
    let size = 0;
    for await (const event of sandbox.code.stream(code)) if (event.type === "stdout") size += event.text.length;
    expect(size).toBe(800 * 65_536);
    const outcome = await server.json<CodeOutcome>("POST", `/sandboxes/${sandbox.id}/code`, { code });
    expect([outcome.status, outcome.stdout.length, outcome.stdout_truncated]).toEqual(["ok", 16_777_216, true]);
  });

  test("binary garbage and marks of frames harm nobody", async () => {
    const code = "import os\nfor fd in (1, 2):\n  for _ in range(50): os.write(fd, os.urandom(2000) + b'\\x1e' * 50)";
    const outcome = await server.json<CodeOutcome>("POST", `/sandboxes/${sandbox.id}/code`, { code });
    expect(outcome.status).toBe("ok");
    expect((await sandbox.code.run("6 * 7")).text).toBe("42");
  });

  test("a fork bomb is held, and only its context is lost", { timeout: 120_000 }, async () => {
    await using bombed = await Sandbox.create({ image: "host", pids: 64 }, { client });
    const outcome = await bombed.code.run("import os\nwhile True:\n  try: os.fork()\n  except OSError: pass", { timeout: "1s" });
    expect(outcome.status).toBe("timed_out");
    expect((await bombed.code.run("6 * 7")).text).toBe("42");
  });

  test("a server that is killed in the middle leaves the context and its state", async () => {
    const { text: before } = await sandbox.code.run("import os\nkept = 'yes'\nos.getpid()");
    const broken = sandbox.code.run("import time\nprint('begun', flush=True)\ntime.sleep(2)\nkept += '!'", {
      onStdout: () => server.kill9(),
    });
    await expect(broken).rejects.toMatchObject({ code: "server_unreachable" });
    await server.up();
    sandbox = await Sandbox.connect(sandbox.id, { client: connect() });
    const after = await sandbox.code.run("print(kept)\nos.getpid()");
    expect(after).toMatchObject({ status: "ok", stdout: "yes!\n", text: before });
  });

  test("a client that goes away does not end the code; its timeout does", async () => {
    const context = await sandbox.code.createContext();
    const leaving = new AbortController();
    const body = { code: "print('begun', flush=True)\nwhile True: pass", context_id: context.context_id, timeout: "500ms", stream: true };
    const response = await server.fetch("POST", `/sandboxes/${sandbox.id}/code`, body, { signal: leaving.signal });
    const reader = response.body?.getReader();
    await reader?.read();
    const gone = once(leaving.signal, "abort");
    leaving.abort();
    await gone;
    expect(await sandbox.code.run("'next'", { context })).toMatchObject({ status: "ok", text: "'next'" });
  });
});
