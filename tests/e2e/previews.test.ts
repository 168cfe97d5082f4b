import type { PortList, PortToken, Process, Sandbox } from "@caisson/contract";
import { ask } from "@caisson/testkit";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { TestServer } from "../harness/server.ts";

let server: TestServer;

/** Events that never end at /events, an echo of raw bytes behind every upgrade, else what was asked. */
const PROGRAM = `
const server = require("node:http").createServer((message, response) => {
  if (message.url === "/events") response.writeHead(200, { "content-type": "text/event-stream" }).write("data: 1\\n\\n");
  else response.end(message.url);
});
server.on("upgrade", (message, socket) => {
  socket.write("HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n\\r\\n");
  socket.pipe(socket);
});
server.listen(8000, "127.0.0.1");
`;

beforeAll(async () => {
  server = await TestServer.start();
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

async function startSandbox(): Promise<{ sandbox: Sandbox; host: string; get: (path: string) => ReturnType<typeof ask> }> {
  const sandbox = await server.json<Sandbox>("POST", "/sandboxes", {});
  const host = `8000-${sandbox.id}.localhost`;
  const get = (path: string): ReturnType<typeof ask> => ask(server.url, path, { host, headers: { "x-api-key": server.apiKey } });
  await server.json<Process>("POST", `/sandboxes/${sandbox.id}/exec`, {
    command: "node",
    args: ["-e", PROGRAM],
    background: true,
  });
  await vi.waitFor(async () => expect((await get("/")).status).toBe(200), { timeout: 40_000, interval: 100 });
  return { sandbox, host, get };
}

it("keeps links and visibility across a crash of the server", async () => {
  const { sandbox, host, get } = await startSandbox();
  const { token } = await server.json<PortToken>("POST", `/sandboxes/${sandbox.id}/ports/8000/token`, {});
  await server.json("PUT", `/sandboxes/${sandbox.id}/ports/8000`, { public: true });
  await server.json("PUT", `/sandboxes/${sandbox.id}/ports/9000`, { public: false });
  await server.kill9();
  await server.up();
  expect((await get("/key")).status).toBe(200);
  expect((await ask(server.url, "/public", { host })).status).toBe(200);
  await server.fetch("DELETE", `/sandboxes/${sandbox.id}/ports/8000`);
  expect((await ask(server.url, "/private", { host })).status).toBe(401);
  expect((await ask(server.url, `/token?caisson_token=${token}`, { host })).body.toString()).toBe("/token");
  const { items } = await server.json<PortList>("GET", `/sandboxes/${sandbox.id}/ports`);
  expect(items.map(({ port, listening, published }) => [port, listening, published])).toEqual([
    [8000, true, false],
    [9000, false, true],
  ]);
});
