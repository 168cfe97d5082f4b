import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { connect, type AddressInfo } from "node:net";
import { systemClock } from "@caisson/contract";
import { SignedGrants } from "@caisson/identity";
import { ask } from "@caisson/testkit";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { API_KEY, testSigningKey } from "../testing/test-server.ts";
import { startTestWorker, type TestWorker } from "../testing/worker-server.ts";

const PORT = 8000;
const DOMAIN = "w1.example.org";

let worker: TestWorker;
let inside: Server;
let id: string;
const seen: (string | undefined)[][] = [];

beforeAll(async () => {
  inside = createServer((message, response) => {
    seen.push([message.url, message.headers.cookie, message.headers.authorization]);
    response.end("hello from inside");
  });
  new WebSocketServer({ server: inside }).on("connection", (socket) =>
    socket.on("message", (data, binary) => socket.send(data, { binary })),
  );
  inside.listen(0, "127.0.0.1");
  await once(inside, "listening");
  worker = await startTestWorker("worker-a", {
    previews: { domain: DOMAIN, url: `http://${DOMAIN}:7430` },
    // What was heard of a port grows no older, however long a test takes.
    clock: { ...systemClock, monotonic: () => 0 },
  });
  worker.machine.ports.set(PORT, async (stream) => {
    const socket = connect((inside.address() as AddressInfo).port, "127.0.0.1");
    socket.on("error", () => undefined);
    const back = (async () => {
      for await (const chunk of socket) await stream.write(chunk as Buffer);
      stream.end();
    })();
    for await (const chunk of stream) socket.write(chunk);
    socket.end();
    await back;
  });
});
beforeEach(async () => {
  worker.access = "private";
  worker.asked = 0;
  seen.length = 0;
  id = await worker.start();
});
afterAll(async () => {
  await worker[Symbol.asyncDispose]();
  inside.closeAllConnections();
  inside.close();
});

const host = (port = PORT) => `${port}-${id}.${DOMAIN}:7430`;
const open = (path: string, headers: Record<string, string> = {}, port = PORT) => ask(worker.url, path, { host: host(port), headers });
const link = async (port = PORT, sandboxId = id) =>
  new SignedGrants(await testSigningKey()).sign({ action: "port", sandboxId, port, expiresAt: Date.now() + 60_000 });
const code = (body: Buffer) => (JSON.parse(body.toString()) as { code: string }).code;

it("opens for a link that a control plane signed, as a cookie too, and asks nobody for that", async () => {
  worker.access = undefined;
  const token = await link();
  expect((await open(`/a?caisson_token=${token}`)).body.toString()).toBe("hello from inside");
  const turned = await open(`/a?x=1&caisson_token=${token}`, { accept: "text/html" });
  expect([turned.status, turned.headers.location]).toEqual([303, "/a?x=1"]);
  const cookie = String(turned.headers["set-cookie"]?.[0]).split(";")[0] ?? "";
  expect((await open("/b", { cookie })).body.toString()).toBe("hello from inside");
  expect(worker.asked).toBe(0);
  // Neither link nor cookie is seen inside.
  expect(seen).toEqual([
    ["/a", undefined, undefined],
    ["/b", undefined, undefined],
  ]);
});

it("opens for anybody once the port is public, and asks a control plane for that, not for each request", async () => {
  expect((await open("/")).status).toBe(401);
  worker.access = "public";
  // What was heard holds for seconds.
  expect((await open("/")).status).toBe(401);
  expect(worker.asked).toBe(1);
  id = await worker.start();
  for (let i = 0; i < 5; i++) expect((await open("/")).status).toBe(200);
  expect(worker.asked).toBe(2);
});

it("stays shut when no control plane can be asked, and asks again", async () => {
  worker.access = undefined;
  const refused = await open("/");
  expect([refused.status, code(refused.body), refused.headers["retry-after"]]).toEqual([503, "control_unavailable", "2"]);
  worker.access = "public";
  expect((await open("/")).status).toBe(200);
});

it("takes no key, no link of another port or sandbox, and no access token", async () => {
  const other = await worker.start();
  for (const [path, headers] of [
    ["/", { "x-api-key": API_KEY }],
    ["/", { authorization: "Bearer cak_0123456789abcdef" }],
    [`/?caisson_token=${await link(PORT + 1)}`, {}],
    [`/?caisson_token=${await link(PORT, other)}`, {}],
    [`/?caisson_token=${await worker.token(id)}`, {}],
  ] as [string, Record<string, string>][]) {
    const { status, body } = await open(path, headers);
    expect([status, code(body)]).toEqual([401, "unauthorized"]);
  }
  expect(seen).toEqual([]);
});

it("shows no sandbox that has left, and serves nothing of the API on its hosts", async () => {
  const token = await link();
  expect((await open("/api/v1/live", { cookie: `caisson_preview=${token}` })).body.toString()).toBe("hello from inside");
  await worker.host.destroy({ sandboxId: id, epoch: 1 });
  const { status, body } = await open(`/?caisson_token=${token}`);
  expect([status, code(body)]).toEqual([409, "lease_lost"]);
});

it("carries WebSockets of pages, as hot reload needs them", async () => {
  const socket = new WebSocket(`${worker.url.replace("http", "ws")}/hmr?caisson_token=${await link()}`, { headers: { host: host() } });
  await once(socket, "open");
  socket.send("ping");
  const [data] = (await once(socket, "message")) as [Buffer];
  expect(String(data)).toBe("ping");
  const big = Buffer.alloc(300_000, 7);
  socket.send(big);
  const [echoed] = (await once(socket, "message")) as [Buffer];
  expect(echoed.equals(big)).toBe(true);
  socket.close();
  await once(socket, "close");
});

it("carries raw connections for a link, and for access", async () => {
  for (const token of [await link(), await worker.token(id)]) {
    const path = `/api/v1/sandboxes/${id}/ports/${PORT}/connect?token=${token}`;
    const socket = new WebSocket(worker.url.replace("http", "ws") + path, "caisson.tcp.v1");
    const bytes: Buffer[] = [];
    const done = once(socket, "close");
    socket.on("message", (data: Buffer, binary) => {
      if (binary) bytes.push(data);
      else if (String(data).includes("connected")) socket.send(Buffer.from("GET / HTTP/1.0\r\n\r\n"), () => socket.send('{"type":"end"}'));
    });
    await done;
    expect(Buffer.concat(bytes).toString()).toContain("hello from inside");
  }
  const wrong = `/api/v1/sandboxes/${id}/ports/${PORT}/connect?token=${await link(PORT + 1)}`;
  const refused = new WebSocket(worker.url.replace("http", "ws") + wrong, "caisson.tcp.v1");
  const [error] = (await once(refused, "error")) as [Error];
  expect(error.message).toContain("401");
});
