import type { PortList, Process, Sandbox } from "@caisson/contract";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { ask } from "@caisson/testkit";
import { TestServer } from "../harness/server.ts";

let server: TestServer;
let sandbox: Sandbox;

beforeAll(async () => {
  server = await TestServer.start();
  sandbox = await server.json<Sandbox>("POST", "/sandboxes", {});
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

/** Starts a command in the background. */
async function start(command: string): Promise<void> {
  await server.json<Process>("POST", `/sandboxes/${sandbox.id}/exec`, { command, background: true });
}

it("shows a server of the sandbox, lists its port, and nothing of it is left after destroy", async () => {
  await start("mkdir -p /tmp/www && echo hello > /tmp/www/a.txt && cd /tmp/www && exec python3 -u -m http.server 8000 --bind 127.0.0.1");
  await vi.waitFor(
    async () => {
      const { items } = await server.json<PortList>("GET", `/sandboxes/${sandbox.id}/ports`);
      expect(items).toMatchObject([{ port: 8000, address: "127.0.0.1", listening: true, published: false, public: false, user: "user" }]);
    },
    { timeout: 20_000, interval: 100 },
  );
  const host = `8000-${sandbox.id}.localhost`;
  const headers = { "x-api-key": server.apiKey };
  expect((await ask(server.url, "/a.txt", { host, headers })).body.toString()).toBe("hello\n");
  expect((await ask(server.url, `/preview/${sandbox.id}/8000/a.txt`, { headers })).body.toString()).toBe("hello\n");
});
