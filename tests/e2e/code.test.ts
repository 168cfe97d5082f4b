import { execFile } from "node:child_process";
import { join } from "node:path";
import { Caisson, Sandbox } from "@caisson/sdk";
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
});
