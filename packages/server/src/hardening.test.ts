import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { CaissonError } from "@caisson/contract";
import type { AttachedProcess } from "@caisson/guest";
import { expect, it } from "vitest";
import { API_KEY, startTestServer, type TestServer } from "./testing/test-server.ts";

function open(server: TestServer): Socket {
  const socket = connect(Number(new URL(server.url).port), "127.0.0.1");
  socket.on("error", () => undefined);
  return socket;
}

/** Everything a socket receives until it is closed. */
async function rest(socket: Socket): Promise<string> {
  const chunks: Buffer[] = [];
  socket.on("data", (bytes: Buffer) => chunks.push(bytes));
  // A reset is an end like any other here.
  if (!socket.destroyed) await new Promise((resolve) => socket.once("close", resolve));
  return Buffer.concat(chunks).toString("latin1");
}

const alive = async (server: TestServer) => (await fetch(`${server.url}/live`)).status === 200;
const head = (line: string, ...headers: string[]) => `${[line, "Host: x", `X-API-Key: ${API_KEY}`, ...headers].join("\r\n")}\r\n\r\n`;

it("a megabyte of random bytes on the port harms nobody", async () => {
  await using server = await startTestServer();
  const neighbour = server.call("POST", `/sandboxes/${(await server.operations.create({})).id}/exec`, {
    json: { command: "sleep 0.3; echo fine" },
  });
  const prefixes = [
    "",
    "GET / HTTP/1.1\r\n",
    "POST /api/v1/sandboxes HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
  ];
  await Promise.all(
    prefixes.map(async (prefix) => {
      const socket = open(server);
      const closed = rest(socket);
      socket.end(Buffer.concat([Buffer.from(prefix), randomBytes(1_048_576)]));
      await closed;
    }),
  );
  expect(await alive(server)).toBe(true);
  expect(await (await neighbour).json()).toMatchObject({ stdout: "fine\n", exit_code: 0 });
});

it("bytes that are not HTTP are answered with a problem", async () => {
  await using server = await startTestServer();
  const socket = open(server);
  const answer = rest(socket);
  socket.write("not http at all\r\n\r\n");
  expect(await answer).toMatch(/^HTTP\/1\.1 400 .*application\/problem\+json.*"code":"invalid_request"/s);
  const wide = open(server);
  const overflow = rest(wide);
  wide.write(`GET / HTTP/1.1\r\nHost: x\r\nX: ${"a".repeat(100_000)}\r\n\r\n`);
  expect(await overflow).toMatch(/^HTTP\/1\.1 431 /);
});

it("heads and bodies that drip are cut off, other requests are not", async () => {
  await using server = await startTestServer({ limits: { headersTimeoutMs: 300, bodyTimeoutMs: 300 } });
  const slowHead = open(server);
  slowHead.write("GET /live HTTP/1.1\r\nHost: x\r\nX-Slow");
  const slowBody = open(server);
  slowBody.write(`${head("POST /api/v1/sandboxes HTTP/1.1", "Content-Type: application/json", "Content-Length: 100")}{`);
  expect(await rest(slowHead)).toMatch(/^HTTP\/1\.1 408 .*problem\+json/s);
  await rest(slowBody);
  expect(await alive(server)).toBe(true);
});

it("an upload that stands still is given up with an answer, and leaves nothing", async () => {
  await using server = await startTestServer({ limits: { uploadIdleMs: 200 } });
  const { id } = await server.operations.create({});
  const socket = open(server);
  socket.write(`${head(`PUT /api/v1/sandboxes/${id}/files?path=/stalled HTTP/1.1`, "Content-Length: 1000")}abc`);
  const [answer] = (await once(socket, "data")) as [Buffer];
  expect(answer.toString()).toMatch(/^HTTP\/1\.1 504 .*"code":"deadline_exceeded"/s);
  expect(await readdir(server.root)).toEqual([]);
  socket.destroy();
});

it("a refused upload does not break the connection for what comes next", async () => {
  await using server = await startTestServer();
  const socket = open(server);
  let text = "";
  socket.on("data", (bytes: Buffer) => (text += bytes.toString("latin1")));
  socket.write(head("PUT /api/v1/sandboxes/sb0000000000000000000000/files?path=/x HTTP/1.1", "Content-Length: 3000000"));
  await expect.poll(() => text).toContain("sandbox_not_found");
  socket.write(Buffer.alloc(3_000_000));
  socket.write(head("GET /live HTTP/1.1"));
  await expect.poll(() => text).toContain('"status":"alive"');
  socket.destroy();
});

it.each([
  ["?path=%ff", "path"],
  ["?path=/a&user=%c3", "user"],
  ["?%ff=1&path=/a", "%ff"],
])("a query that is not UTF-8 is refused: %s", async (query, path) => {
  await using server = await startTestServer();
  const { id } = await server.operations.create({});
  const response = await server.call("GET", `/sandboxes/${id}/files${query}`);
  expect([response.status, await response.json()]).toMatchObject([400, { errors: [{ path }] }]);
});

it("an encoded body is refused", async () => {
  await using server = await startTestServer();
  const { id } = await server.operations.create({});
  const response = await server.call("PUT", `/sandboxes/${id}/files?path=/x`, { body: "x", headers: { "content-encoding": "gzip" } });
  expect(response.status).toBe(400);
});

it("a sandbox that never reports the end of a command is given up after its timeout", async () => {
  await using server = await startTestServer({ limits: { execGraceMs: 100 } });
  const { id } = await server.operations.create({});
  let detached = 0;
  const silent: AttachedProcess = {
    id: 1,
    pid: 1,
    write: () => Promise.resolve(),
    closeInput: () => undefined,
    detach: () => (detached += 1),
    [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => undefined) }),
  };
  const { withGuest } = server.operations;
  server.operations.withGuest = (box, name, use, options) =>
    withGuest(box, name, (guest, sandbox) => use({ ...guest, exec: () => Promise.resolve(silent) }, sandbox), options);
  const run = (json: object) => server.call("POST", `/sandboxes/${id}/exec`, { json: { command: "x", timeout: "50ms", ...json } });
  expect(await (await run({})).json()).toMatchObject({ status: 503, code: "agent_unreachable" });
  const lines = (await (await run({ stream: true })).text()).trimEnd().split("\n");
  expect(lines.map((line) => (JSON.parse(line) as { type: string }).type)).toEqual(["start", "error"]);
  expect(detached).toBe(2);
  await expect.poll(() => server.log.filter((line) => line["error"] === "agent_unreachable")).toHaveLength(2);
});

it("a sandbox that falls silent in the middle of a file or a listing is given up", async () => {
  await using server = await startTestServer({ limits: { guestSilenceMs: 100 } });
  const { id } = await server.operations.create({});
  const entry = await server.operations.withGuest(id, "file.stat", (guest) => guest.stat("/"));
  const silence = { [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => undefined) }) };
  const { withGuest } = server.operations;
  server.operations.withGuest = (box, name, use, options) =>
    withGuest(
      box,
      name,
      (guest, sandbox) => use({ ...guest, listDir: () => silence, readFile: () => Promise.resolve({ entry, content: silence }) }, sandbox),
      options,
    );
  for (const path of ["/files/list", "/files?path=/x"])
    expect(await (await server.call("GET", `/sandboxes/${id}${path}`)).json()).toMatchObject({ code: "agent_unreachable" });
});

it("a failure inside a stream is told in it, without what failed", async () => {
  await using server = await startTestServer();
  const { id } = await server.operations.create({});
  const { withGuest } = server.operations;
  const failures = [new Error("secret inside"), new CaissonError("protocol_error", "The agent broke the protocol.")];
  server.operations.withGuest = (box, name, use, options) =>
    withGuest(
      box,
      name,
      async (guest, sandbox) => {
        const attached = await guest.exec({ command: "true" });
        const failing = { ...attached, [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(failures.shift()) }) };
        return use({ ...guest, exec: () => Promise.resolve(failing) }, sandbox);
      },
      options,
    );
  const last = async () =>
    JSON.parse(
      (await (await server.call("POST", `/sandboxes/${id}/exec`, { json: { command: "x", stream: true } })).text())
        .trimEnd()
        .split("\n")
        .at(-1) ?? "",
    ) as object;
  expect(await last()).toMatchObject({ type: "error", code: "internal", message: "Caisson failed." });
  expect(await last()).toMatchObject({ type: "error", code: "protocol_error" });
  expect(JSON.stringify(server.log)).toContain("secret inside");
});

/** A streamed command whose client has stopped reading, once every buffer on the way is full. */
async function stalledStream(server: TestServer): Promise<Socket> {
  const { id } = await server.operations.create({});
  const body = JSON.stringify({ command: "yes | head -c 500000000", stream: true });
  const socket = open(server);
  socket.write(
    head(`POST /api/v1/sandboxes/${id}/exec HTTP/1.1`, "Content-Type: application/json", `Content-Length: ${body.length}`) + body,
  );
  await once(socket, "readable");
  socket.pause();
  // The buffers are full once two readings of what the command has written agree.
  const written = async () => (await server.operations.withGuest(id, "process.list", (guest) => guest.sessions()))[0]?.stdout.end ?? 0;
  let before = -1;
  await expect.poll(async () => before === (before = await written()) && before > 0, { interval: 200, timeout: 20_000 }).toBe(true);
  return socket;
}

it("closes by its deadline although a client takes nothing, and refuses what comes meanwhile", async () => {
  await using server = await startTestServer({ limits: { closeDeadlineMs: 400 } });
  const socket = await stalledStream(server);
  const began = performance.now();
  await server.server.close();
  expect(performance.now() - began).toBeGreaterThan(300);
  expect(performance.now() - began).toBeLessThan(9_000);
  await expect(fetch(`${server.url}/live`)).rejects.toThrow("fetch failed");
  socket.destroy();
});

it("a slow client still gets all that was on its way, and then the reason", async () => {
  await using server = await startTestServer();
  const socket = await stalledStream(server);
  const closed = server.server.close();
  const received = rest(socket);
  socket.resume();
  const text = await received;
  expect(text.slice(-2000)).toContain('"type":"error","code":"shutting_down"');
  expect(text.endsWith("\r\n0\r\n\r\n")).toBe(true);
  await closed;
});

it("waits for short requests when it closes", async () => {
  await using server = await startTestServer();
  let finish: (() => void) | undefined;
  const { create } = server.operations;
  server.operations.create = async (request, options) => {
    await new Promise<void>((resolve) => (finish = resolve));
    return create(request, options);
  };
  const creating = server.call("POST", "/sandboxes", { json: {} });
  await expect.poll(() => finish).toBeDefined();
  const closed = server.server.close();
  finish?.();
  expect((await creating).status).toBe(201);
  await closed;
});
