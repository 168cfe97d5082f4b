import { execFileSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { WorkerInvitation } from "@caisson/contract";
import { Sandbox } from "@caisson/sdk";
import { freePort } from "@caisson/testkit";
import { afterAll, beforeAll, expect, it } from "vitest";
import { TestServer } from "../harness/server.ts";
import { TestWorker } from "../harness/worker.ts";

const CLI = new URL("../../packages/cli/bin/caisson.mjs", import.meta.url).pathname;
const TOKEN_S = 20;
/** Longer than the token lives that the link was opened with. */
const UNDER_WAY_S = TOKEN_S + 3;

let server: TestServer;
let dir = "";
beforeAll(async () => {
  server = await TestServer.start({ CAISSON_SERVER__LOCAL_WORKER: "off", CAISSON_WORKERS__TOKEN_TTL: `${TOKEN_S}s` });
  dir = await mkdtemp(join(tmpdir(), "caisson-link-renewal-"));
});
afterAll(async () => {
  await server?.destroyAll();
  await server?.[Symbol.asyncDispose]();
  await rm(dir, { recursive: true, force: true });
});

/** The configuration of a worker that has joined. */
async function joined(id: string): Promise<Record<string, string>> {
  const dataDir = join(dir, id);
  const { token } = await server.json<WorkerInvitation>("POST", "/workers", { id }, { headers: { "x-api-key": server.adminKey } });
  execFileSync(process.execPath, [CLI, "worker", "join", server.url, "--token", token, "--no-start"], {
    env: { PATH: process.env["PATH"] ?? "", HOME: dir, CAISSON_DATA_DIR: dataDir },
  });
  return { CAISSON_DATA_DIR: dataDir, CAISSON_WORKER__HEARTBEAT_INTERVAL: "1s" };
}

/** Lines of the server about links of one worker. */
const said = (id: string, message: string): readonly string[] =>
  server.output.split("\n").filter((line) => line.includes(`"worker_id":"${id}"`) && line.includes(message));

/** How often the worker's links were renewed, made and ended so far. */
const links = (id: string): readonly number[] =>
  ["a worker has renewed its link", "a link with a worker is up", "a link with a worker has ended"].map((what) => said(id, what).length);

/** Has a call, a stream and a terminal under way when the token ends with which the worker's link was opened; what became of links. */
async function outlive(id: string): Promise<{ readonly renewed: number; readonly made: number; readonly ended: number }> {
  const sandbox = await Sandbox.create({ worker_id: id }, { client: server.client() });
  const before = links(id);
  let shown = "";
  using terminal = await sandbox.pty.create({ cols: 80, rows: 24, onData: (bytes) => void (shown += Buffer.from(bytes).toString()) });
  const count = async (): Promise<string> => {
    let lines = "";
    for await (const event of sandbox.commands.stream(`i=0; while [ $i -lt ${UNDER_WAY_S} ]; do echo $i; i=$((i+1)); sleep 1; done`))
      if (event.type === "output") lines += event.text;
    return lines;
  };
  const call = server.json("POST", `/sandboxes/${sandbox.id}/exec`, { command: `sleep ${UNDER_WAY_S}; echo survived` });
  const [answer, counted] = await Promise.all([call, count()]);
  expect(answer).toMatchObject({ exit_code: 0, stdout: "survived\n" });
  expect(counted).toBe(Array.from({ length: UNDER_WAY_S }, (_, i) => `${i}\n`).join(""));
  await terminal.write("echo $((6 * 7))\n");
  await expect.poll(() => shown).toMatch(/^42\r?$/m);
  await sandbox.destroy();
  const [renewed = 0, made = 0, ended = 0] = links(id).map((count, i) => count - (before[i] ?? 0));
  return { renewed, made, ended };
}

it("what is under way on a worker that dials lives through the end of its token", { timeout: 400_000 }, async () => {
  await using _worker = await TestWorker.start(server, "dials", await joined("dials"));
  const { renewed, made, ended } = await outlive("dials");
  expect(renewed).toBeGreaterThan(0);
  expect([made, ended]).toEqual([0, 0]);
});

it("what is under way on a worker that is dialled does, too", { timeout: 400_000 }, async () => {
  const env = { ...(await joined("dialled")), CAISSON_WORKER__LISTEN_ADDR: `127.0.0.1:${await freePort()}` };
  const worker = await TestWorker.start(server, "dialled", env);
  // It has said where it can be dialled; from now on it finds no control plane by itself.
  await worker.end();
  await rm(join(dir, "dialled", "joined", "worker", "control-planes.json"), { force: true });
  await using dialled = await TestWorker.start(server, "dialled", { ...env, CAISSON_WORKER__CONTROL_PLANE_URL: "http://127.0.0.1:1" });
  const { renewed, made, ended } = await outlive("dialled");
  expect(renewed).toBeGreaterThan(0);
  expect([made, ended]).toEqual([0, 0]);
  expect(said("dialled", '"dialled":true').length).toBeGreaterThan(0);
  await dialled.end();
});
