import type { PortList, PortToken, Sandbox } from "@caisson/contract";
import { ask } from "@caisson/testkit";
import { afterAll, beforeAll, expect, it } from "vitest";
import { TestServer } from "../harness/server.ts";
import { showPort } from "../harness/shown-port.ts";

let server: TestServer;

beforeAll(async () => {
  server = await TestServer.start();
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

it("keeps links and visibility across a crash of the server", async () => {
  const sandbox = await server.json<Sandbox>("POST", "/sandboxes", {});
  const { host, get } = await showPort(server, sandbox);
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
