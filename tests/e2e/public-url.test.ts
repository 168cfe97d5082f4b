import { execFile } from "node:child_process";
import type { Worker } from "@caisson/contract";
import { freePort } from "@caisson/testkit";
import { afterAll, beforeAll, expect, it } from "vitest";
import { TestServer } from "../harness/server.ts";
import { ONLY_MOCK, SHARED_TOKEN, TestWorker } from "../harness/worker.ts";

const CLI = new URL("../../packages/cli/bin/caisson.mjs", import.meta.url).pathname;

let server: TestServer;
beforeAll(async () => {
  server = await TestServer.start({ ...ONLY_MOCK, ...SHARED_TOKEN, CAISSON_SERVER__LOCAL_WORKER: "off" });
});
afterAll(() => server?.[Symbol.asyncDispose]());

interface Check {
  readonly name: string;
  readonly state: string;
  readonly detail: string;
}

function caisson(args: readonly string[], env: Record<string, string> = {}): Promise<{ readonly stdout: string; readonly stderr: string }> {
  const options = { env: { ...server.cliEnv, ...env } };
  return new Promise((resolve) => {
    execFile(process.execPath, [CLI, ...args], options, (_error, stdout, stderr) => resolve({ stdout, stderr }));
  });
}

/** What `caisson doctor` finds on the worker's machine. */
async function doctor(id: string, env: Record<string, string>): Promise<Check | undefined> {
  const own = { CAISSON_WORKER__ID: id, CAISSON_WORKER__CONTROL_PLANE_URL: server.url, ...env };
  const { stdout } = await caisson(["doctor", "--json"], own);
  return (JSON.parse(stdout) as { worker: Check[] }).worker.find(({ name }) => name.startsWith("public address"));
}

it("a worker tells when it is not found at its public address", { timeout: 120_000 }, async () => {
  const listen = `127.0.0.1:${await freePort()}`;
  // A mistake that answers: the server's own address.
  const wrong = {
    ...ONLY_MOCK,
    CAISSON_WORKER__LISTEN_ADDR: listen,
    CAISSON_WORKER__PUBLIC_URL: server.url,
    CAISSON_WORKER__HEARTBEAT_INTERVAL: "1s",
  };
  const right = { ...wrong, CAISSON_WORKER__PUBLIC_URL: `http://${listen}` };
  await using worker = await TestWorker.start(server, "worker-a", wrong);
  const told = /"public_url":"[^"]*","reason":"something else answers, with HTTP status 400"/g;
  await expect.poll(() => worker.output, { timeout: 20_000 }).toMatch(told);
  expect(await doctor("worker-a", wrong)).toMatchObject({ state: "warn", detail: expect.stringContaining("not found there") as string });
  expect(worker.output.match(told)).toHaveLength(1);
  const problem = "something else answers, with HTTP status 400";
  const shown = async (): Promise<string | null> => (await server.json<Worker>("GET", "/workers/worker-a")).public_url_problem;
  await expect.poll(shown, { timeout: 20_000 }).toBe(problem);
  expect((await caisson(["workers", "ls"])).stderr).toContain(`worker-a, ${server.url}: it does not find itself there: ${problem}`);
  expect(await doctor("worker-a", right)).toMatchObject({ state: "ok" });
});
