import { execFileSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Worker, WorkerInvitation } from "@caisson/contract";
import { afterAll, beforeAll, expect, it } from "vitest";
import { TestServer } from "../harness/server.ts";
import { ONLY_MOCK, TestWorker } from "../harness/worker.ts";

const CLI = new URL("../../packages/cli/bin/caisson.mjs", import.meta.url).pathname;

let server: TestServer;
let dir = "";
beforeAll(async () => {
  server = await TestServer.start({ ...ONLY_MOCK, CAISSON_SERVER__LOCAL_WORKER: "off" });
  dir = await mkdtemp(join(tmpdir(), "caisson-dialled-"));
});
afterAll(async () => {
  await server.destroyAll();
  await server[Symbol.asyncDispose]();
  await rm(dir, { recursive: true, force: true });
});

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => void probe.listen(0, "127.0.0.1", resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => void probe.close(resolve));
  return port;
}

it("a worker that registered is found again by being dialled, and each side knows the other", { timeout: 240_000 }, async () => {
  const invited = await server.json<WorkerInvitation>(
    "POST",
    "/workers",
    { id: "worker-a" },
    { headers: { "x-api-key": server.adminKey } },
  );
  const env = {
    ...ONLY_MOCK,
    CAISSON_DATA_DIR: dir,
    CAISSON_WORKER__LISTEN_ADDR: `127.0.0.1:${await freePort()}`,
  };
  execFileSync(process.execPath, [CLI, "worker", "join", server.url, "--token", invited.token, "--no-start"], {
    env: { PATH: process.env["PATH"] ?? "", HOME: dir, CAISSON_DATA_DIR: dir },
  });
  // It says where it can be dialled.
  await using worker = await TestWorker.start(server, "worker-a", env);
  await worker.end();
  // From now on it finds no control plane by itself.
  await rm(join(dir, "joined", "worker", "control-planes.json"), { force: true });
  await using dialled = await TestWorker.start(server, "worker-a", { ...env, CAISSON_WORKER__CONTROL_PLANE_URL: "http://127.0.0.1:1" });
  // Links that it dials itself are told by their address.
  await expect.poll(() => dialled.output, { timeout: 60_000 }).toMatch(/Connected to control plane/);
  expect(await server.json<Worker>("GET", "/workers/worker-a")).toMatchObject({ state: "online", credential: "certificate" });
  const sandbox = await server.json<{ id: string }>("POST", "/sandboxes", {});
  expect(sandbox).toMatchObject({ state: "running", worker_id: "worker-a" });
  await server.json("DELETE", `/sandboxes/${sandbox.id}`).catch(() => undefined); // the mock may have none of it left
  expect(dialled.output).not.toContain("Refused");
});
