import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import type { ExecLogPage, PortToken } from "@caisson/contract";
import { Sandbox } from "@caisson/sdk";
import { ask } from "@caisson/testkit";
import { afterAll, beforeAll, expect, it } from "vitest";
import { WebSocket } from "ws";
import { startDirectFleet, watchedClient, WORKER_DOMAIN, type DirectFleet } from "../harness/direct.ts";

/** Answers with what was asked; behind an upgrade an echo of raw bytes. */
const PROGRAM = `
const server = require("node:http").createServer((message, response) => response.end(message.url));
server.on("upgrade", (message, socket) => {
  const key = require("node:crypto").createHash("sha1").update(message.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest("base64");
  socket.write("HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\nSec-WebSocket-Accept: " + key + "\\r\\n\\r\\n");
  // One text frame to whoever connects, as a dev server tells of a change.
  const text = Buffer.from("reload");
  socket.write(Buffer.concat([Buffer.from([0x81, text.length]), text]));
});
server.listen(8000, "127.0.0.1");
`;

let direct: DirectFleet;

beforeAll(async () => {
  direct = await startDirectFleet();
});
afterAll(() => direct?.[Symbol.asyncDispose]());

async function startProgram(sandbox: Sandbox): Promise<void> {
  await sandbox.commands.spawn(["node", "-e", PROGRAM]);
  await expect.poll(async () => (await sandbox.ports.list()).map(({ port }) => port)).toContain(8000);
}

it("does what is done inside a sandbox at its worker, with no key", async () => {
  const { client, sent } = watchedClient(direct);
  await using sandbox = await Sandbox.create({}, { client });
  const { stdout, exitCode } = await sandbox.commands.run("echo $((6*7))");
  expect([stdout, exitCode]).toEqual(["42\n", 0]);
  const bytes = randomBytes(30_000_000);
  await sandbox.files.upload("/tmp/big", bytes);
  const back = await sandbox.files.read("/tmp/big");
  expect(createHash("sha256").update(back).digest("hex")).toBe(createHash("sha256").update(bytes).digest("hex"));
  const terminal = await sandbox.pty.create({ cols: 80, rows: 24, command: ["sh", "-c", "tty; exit 3"] });
  expect((await terminal.wait()).exitCode).toBe(3);
  expect((await sandbox.stats()).uptime_ms).toBeGreaterThan(0);
  expect((await sandbox.code.run("6 * 7")).text).toBe("42");
  const data = sent.filter(({ what }) => /\/ID\/(exec|files|uploads|stats|code|processes)/.test(what));
  expect(new Set(data.map(({ to }) => to))).toEqual(new Set(["worker"]));
  expect(data.length).toBeGreaterThan(5);
  expect(sent.filter(({ to, headers }) => to === "worker" && (headers.has("x-api-key") || headers.has("x-admin-api-key")))).toEqual([]);
  expect(sent.filter(({ what }) => what.endsWith("/access"))).toHaveLength(1);
});

it("has what was run there in the exec log, by the key's name", async () => {
  const { client } = watchedClient(direct);
  await using sandbox = await Sandbox.create({}, { client });
  await sandbox.commands.run("echo one");
  await sandbox.commands.spawn("sleep 0.2; echo two");
  const log = async () => (await direct.fleet.server.json<ExecLogPage>("GET", `/sandboxes/${sandbox.id}/exec-log`)).items;
  await expect.poll(async () => (await log()).filter(({ ended_at }) => ended_at !== null)).toHaveLength(2);
  const entries = (await log()).map(({ command, kind, key, exit_code }) => [command, kind, key, exit_code]);
  expect(entries).toEqual(
    expect.arrayContaining([
      ["echo one", "exec", "api", 0],
      ["sleep 0.2; echo two", "background", "api", 0],
    ]),
  );
  const { items } = await direct.fleet.server.json<{ items: { type: string }[] }>("GET", `/events?sandbox_id=${sandbox.id}`);
  expect(items.map(({ type }) => type)).toEqual(expect.arrayContaining(["process.started", "process.exited"]));
});

it("ends what goes on there with the sandbox, and says so as the server does", async () => {
  const { client } = watchedClient(direct);
  const sandbox = await Sandbox.create({}, { client });
  const begun = Promise.withResolvers<void>();
  const running = sandbox.commands
    .run("echo begun; sleep 60", { onStdout: () => begun.resolve() })
    .catch((error: { code?: string }) => error.code);
  const shown = Promise.withResolvers<void>();
  const followed = (async () => {
    for await (const { processes } of sandbox.statsStream({ interval: "200ms" })) if (processes >= 0) shown.resolve();
    return "ended";
  })();
  await Promise.all([begun.promise, shown.promise]);
  await sandbox.destroy();
  expect(await running).toBe("sandbox_destroyed");
  expect(await followed).toBe("ended");
  await expect(sandbox.commands.run("true")).rejects.toMatchObject({ code: "sandbox_destroyed" });
});

it("goes on while the server is gone, and the log has it afterwards", async () => {
  const { server } = direct.fleet;
  const { client } = watchedClient(direct);
  const sandbox = await Sandbox.create({}, { client });
  await sandbox.commands.run("true");
  await server.kill9();
  for (let i = 0; i < 5; i++) expect((await sandbox.commands.run(`echo ${i}`)).stdout).toBe(`${i}\n`);
  await server.up();
  const log = async () => (await server.json<ExecLogPage>("GET", `/sandboxes/${sandbox.id}/exec-log`)).items;
  await expect.poll(async () => (await log()).filter(({ key, exit_code }) => key === "api" && exit_code === 0)).toHaveLength(6);
  await sandbox.destroy();
});

it("goes through the server when the worker's address does not answer", async () => {
  await using unreachable = await startDirectFleet({ CAISSON_WORKER__PUBLIC_URL: "http://127.0.0.1:9" });
  const { client, sent } = watchedClient(unreachable);
  await using sandbox = await Sandbox.create({}, { client });
  for (let i = 0; i < 3; i++) expect((await sandbox.commands.run("echo hi")).stdout).toBe("hi\n");
  expect(sent.filter(({ what }) => what.endsWith("/exec")).map(({ to }) => to)).toEqual(["server", "server", "server"]);
});

it("shows ports below the worker's own domain, by links, cookies and WebSocket", async () => {
  const { client } = watchedClient(direct);
  await using sandbox = await Sandbox.create({}, { client });
  await startProgram(sandbox);
  const port = new URL(direct.workerUrl).port;
  const host = `8000-${sandbox.id}.${WORKER_DOMAIN}:${port}`;
  expect(await sandbox.ports.url(8000)).toBe(`http://${host}/`);
  const { url, token } = await sandbox.ports.token(8000);
  expect(new URL(url).host).toBe(host);
  const get = (path: string, headers = {}) => ask(direct.workerUrl, path, { host, headers });
  expect((await get("/closed")).status).toBe(401);
  expect((await get(`/link?caisson_token=${token}`)).body.toString()).toBe("/link");
  const turned = await get(`/page?caisson_token=${token}`, { accept: "text/html" });
  const cookie = String(turned.headers["set-cookie"]?.[0]).split(";")[0] ?? "";
  expect((await get("/cookie", { cookie })).body.toString()).toBe("/cookie");
  const socket = new WebSocket(`${direct.workerUrl.replace("http", "ws")}/hmr`, { headers: { host, cookie, origin: `http://${host}` } });
  const [news] = (await once(socket, "message")) as [Buffer];
  expect(news.toString()).toBe("reload");
  socket.terminate();
  await sandbox.ports.publish(8000);
  await expect.poll(async () => (await get("/public")).status).toBe(200);
});

it("relays the same from the server, for a worker that shows none itself", async () => {
  await using plain = await startDirectFleet({ CAISSON_WORKER__PREVIEW_DOMAIN: "localhost" });
  const { server } = plain.fleet;
  const { client } = watchedClient(plain);
  await using sandbox = await Sandbox.create({}, { client });
  await startProgram(sandbox);
  const { host: at, port } = new URL(server.url);
  const host = `8000-${sandbox.id}.localhost:${port}`;
  const { url, token } = await server.json<PortToken>("POST", `/sandboxes/${sandbox.id}/ports/8000/token`, {});
  expect(new URL(url).host).toBe(host);
  expect((await ask(server.url, `/link?caisson_token=${token}`, { host })).body.toString()).toBe("/link");
  const socket = new WebSocket(`ws://${at}/hmr?caisson_token=${token}`, { headers: { host } });
  const [news] = (await once(socket, "message")) as [Buffer];
  expect(news.toString()).toBe("reload");
  socket.terminate();
  using connection = await sandbox.ports.connect(8000);
  const writer = connection.writable.getWriter();
  await writer.write(new TextEncoder().encode("GET /raw HTTP/1.0\r\n\r\n"));
  let answer = "";
  for await (const bytes of connection.readable) answer += new TextDecoder().decode(bytes);
  expect(answer).toContain("/raw");
});
