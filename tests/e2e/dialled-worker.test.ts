import { Sandbox } from "@caisson/sdk";
import { afterAll, beforeAll, expect, it } from "vitest";
import { TestServer } from "../harness/server.ts";
import { ONLY_MOCK, SHARED_TOKEN, TestWorker } from "../harness/worker.ts";

const ENV = { ...ONLY_MOCK, ...SHARED_TOKEN, CAISSON_SERVER__LOCAL_WORKER: "off" };

let server: TestServer;
let worker: TestWorker;
beforeAll(async () => {
  server = await TestServer.start(ENV);
  // It is heard of once, by a link of its own making.
  worker = await TestWorker.start(server, "dialled", {
    ...ONLY_MOCK,
    CAISSON_WORKER__LISTEN_ADDR: "127.0.0.1:0",
    CAISSON_WORKER__HEARTBEAT_INTERVAL: "1s",
  });
});
afterAll(async () => {
  await worker?.[Symbol.asyncDispose]();
  await server?.[Symbol.asyncDispose]();
});

it("is dialled where it says, when it cannot reach the control plane itself", { timeout: 400_000 }, async () => {
  const { advertise_addr: address } = await server.json<{ advertise_addr: string | null }>("GET", "/workers/dialled");
  expect(address).toMatch(/^127\.0\.0\.1:\d+$/);
  await worker.end();
  expect(worker.output).toContain("Stopping");
  // Its way out leads nowhere now; what it listens on is known from before.
  const env = { CAISSON_WORKER__CONTROL_PLANE_URL: "http://127.0.0.1:1", CAISSON_WORKER__LISTEN_ADDR: address ?? "" };
  await worker.up(env);
  await expect.poll(() => worker.output).toContain("Not connected: No link to http://127.0.0.1:1: nothing listens there.");
  const sandbox = await Sandbox.create({}, { client: server.client() });
  expect((await sandbox.commands.run("echo dialled")).stdout).toBe("dialled\n");
  expect(await (await fetch(`http://${address}/live`)).json()).toMatchObject({ status: "alive" });
  expect((await fetch(`http://${address}/api/v1/workers`)).status).toBe(404);
  // Whoever else asks for a link is refused, with a nonce and no more.
  await worker.end();
  expect(worker.output).toContain("Stopping");
  await worker.up(env);
});
