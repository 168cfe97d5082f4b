import { execFileSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Sandbox, Worker, WorkerInvitation } from "@caisson/contract";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { missing, previousRelease, unpackRelease } from "../harness/previous-release.ts";
import { TestServer } from "../harness/server.ts";
import { SHARED_TOKEN, TestWorker } from "../harness/worker.ts";
import { describeSandboxSuite, type SuitePart } from "../sandbox-suite/sandbox-suite.ts";
import { SandboxTarget } from "../sandbox-suite/sandbox-target.ts";

const CLI = new URL("../../packages/cli/bin/caisson.mjs", import.meta.url).pathname;
const NO_LOCAL_WORKER = { ...SHARED_TOKEN, CAISSON_SERVER__LOCAL_WORKER: "off" };
/** What crosses the link in every shape: calls, streams both ways under credit, connections. */
const PARTS: readonly SuitePart[] = ["commands", "terminals", "files", "ports", "observation"];

const previous = await previousRelease();
const why = await missing(previous);
const old = why === undefined ? await unpackRelease(previous) : "";
if (why !== undefined) process.stderr.write(`skipped: ${why}\n`);

describe.skipIf(why !== undefined)(`release ${previous.version} beside this one`, () => {
  describe.each<{ readonly name: string; readonly server?: string; readonly worker?: string }>([
    { name: "its worker, our server", worker: old },
    { name: "its server, our worker", server: old },
  ])("$name", (commands) => {
    let server: TestServer;
    let worker: TestWorker;
    let target: SandboxTarget;
    beforeAll(async () => {
      server = await TestServer.start(NO_LOCAL_WORKER, commands.server === undefined ? {} : { command: commands.server });
      worker = await TestWorker.start(server, "worker-a", {}, commands.worker);
      target = new SandboxTarget(server, {
        request: {},
        previewDomain: null,
        workerDir: worker.dataDir,
        traces: () => ({ output: server.output + worker.output, folders: [server.dataDir, worker.dataDir] }),
      });
    });
    afterAll(async () => {
      await server.destroyAll();
      await worker[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    });

    it("is told from this one", async () => {
      const { version } = await server.json<Worker>("GET", "/workers/worker-a");
      if (commands.worker === undefined) expect(version).not.toBe(previous.version);
      else expect(version).toBe(previous.version);
    });

    describeSandboxSuite(() => target, PARTS);
  });

  it.each<{ readonly name: string; readonly server?: string; readonly worker?: string }>([
    { name: "its worker renews no link with our server", worker: old },
    { name: "its server renews no link with our worker", server: old },
  ])("$name, which is dialled anew with the renewed token", { timeout: 300_000 }, async (commands) => {
    const env = { CAISSON_SERVER__LOCAL_WORKER: "off", CAISSON_WORKERS__TOKEN_TTL: "10s" };
    await using server = await TestServer.start(env, commands.server === undefined ? {} : { command: commands.server });
    const dataDir = await mkdtemp(join(tmpdir(), "caisson-skew-"));
    const { token } = await server.json<WorkerInvitation>(
      "POST",
      "/workers",
      { id: "joined" },
      { headers: { "x-api-key": server.adminKey } },
    );
    execFileSync(process.execPath, [commands.worker ?? CLI, "worker", "join", server.url, "--token", token, "--no-start"], {
      env: { PATH: process.env["PATH"] ?? "", HOME: dataDir, CAISSON_DATA_DIR: dataDir },
    });
    const own = { CAISSON_DATA_DIR: dataDir, CAISSON_WORKER__HEARTBEAT_INTERVAL: "1s" };
    await using worker = await TestWorker.start(server, "joined", own, commands.worker);
    const links = (): number => server.output.split("a link with a worker is up").length - 1;
    await expect.poll(links).toBeGreaterThan(1);
    await expect.poll(() => worker.output.includes("a link was not renewed")).toBe(commands.worker === undefined);
    // Links come and go here, and while there is none a request is refused.
    let id = "";
    const created = async (): Promise<string> => {
      const sandbox = await server.json<Sandbox>("POST", "/sandboxes", { worker_id: "joined" });
      ({ id } = sandbox);
      return sandbox.state;
    };
    await expect.poll(created).toBe("running");
    const answer = (): Promise<object> => server.json("POST", `/sandboxes/${id}/exec`, { command: "echo $((6 * 7))" });
    await expect.poll(answer).toMatchObject({ stdout: "42\n" });
    await server.json("DELETE", `/sandboxes/${id}`);
    await worker.end();
    await rm(dataDir, { recursive: true, force: true });
  });

  it("is replaced part by part under a running sandbox, and back", { timeout: 600_000 }, async () => {
    await using server = await TestServer.start(NO_LOCAL_WORKER, { command: old });
    await using worker = await TestWorker.start(server, "worker-a", {}, old);
    const sandbox = await server.json<Sandbox>("POST", "/sandboxes", {});
    await server.json("POST", `/sandboxes/${sandbox.id}/exec`, {
      background: true,
      command: "i=0; while :; do i=$((i+1)); echo $i > /tmp/next; mv /tmp/next /tmp/n; sleep 0.1; done",
    });
    const counted = async (): Promise<number> => {
      const response = await server.fetch("POST", `/sandboxes/${sandbox.id}/exec`, { command: "cat /tmp/n" });
      return response.ok ? Number(((await response.json()) as { stdout: string }).stdout) : 0;
    };
    let before = 0;
    const goesOn = async (): Promise<void> => {
      await expect.poll(counted).toBeGreaterThan(before);
      before = await counted();
    };
    await goesOn();
    const steps: (() => Promise<void>)[] = [
      async () => {
        await server.stop();
        await server.up();
      },
      ...[undefined, old, undefined].map((command) => async (): Promise<void> => {
        await worker.end();
        await worker.up({}, command);
      }),
    ];
    for (const step of steps) {
      await step();
      await expect.poll(async () => (await server.json<Sandbox>("GET", `/sandboxes/${sandbox.id}`)).state).toBe("running");
      await goesOn();
    }
    await server.json("DELETE", `/sandboxes/${sandbox.id}`);
  });
});
