import { once } from "node:events";
import { connect } from "node:net";
import { EXEC_PROTOCOL, type Process, type Token } from "@caisson/contract";
import { expect, it } from "vitest";
import { ExecPeer } from "../testing/exec-peer.ts";
import { API_KEY, startTestServer, type TestServer } from "../testing/test-server.ts";

async function sandboxOf(server: TestServer): Promise<string> {
  return (await server.operations.create({})).id;
}

async function open(server: TestServer, first?: object | string, id?: string): Promise<ExecPeer> {
  const peer = await new ExecPeer(server.url, id ?? (await sandboxOf(server))).opened();
  if (first !== undefined) peer.tell(first);
  return peer;
}

it("runs a process: output by stream, exit, 1000", async () => {
  await using server = await startTestServer();
  using peer = await open(server, { type: "start", command: "echo out; echo err >&2; exit 3" });
  expect(peer.socket.protocol).toBe(EXEC_PROTOCOL);
  expect(await peer.sign("started")).toMatchObject({ pty: false, stdout_offset: 0, stderr_offset: 0, process_id: 1 });
  expect(await peer.sign("exit")).toMatchObject({ exit_code: 3, signal: null, stdout_bytes: 4, stderr_bytes: 4 });
  expect(await peer.closed).toEqual({ code: 1000, reason: "exit" });
  expect(peer.output.stdout.toString()).toBe("out\n");
  expect(peer.output.stderr.toString()).toBe("err\n");
});

it("takes input in order, and its end", async () => {
  await using server = await startTestServer();
  using peer = await open(server, { type: "start", command: "cat" });
  // Before `started` is known, too.
  const sent = Array.from({ length: 300 }, (_, i) => Buffer.alloc(4096, i % 251));
  for (const bytes of sent) peer.socket.send(bytes);
  peer.tell({ type: "close_stdin" });
  peer.socket.send(Buffer.from("after the end"));
  await peer.sign("exit");
  expect(peer.output.stdout.equals(Buffer.concat(sent))).toBe(true);
});

it("signals, answers pings, and attaches again by offset", async () => {
  await using server = await startTestServer();
  const id = await sandboxOf(server);
  const json = { command: "printf abcdef; exec cat", background: true, stdin_open: true, tag: "t" };
  const { process_id } = (await (await server.call("POST", `/sandboxes/${id}/exec`, { json })).json()) as Process;
  using peer = await open(server, { type: "attach", process_id }, id);
  await peer.until("stdout", (text) => text === "abcdef");
  peer.tell({ type: "ping" });
  await peer.sign("pong");
  peer.socket.close();
  await peer.closed;
  using again = await open(server, { type: "attach", process_id, stdout_offset: 4 }, id);
  expect(await again.sign("started")).toMatchObject({ process_id, stdout_offset: 4, stderr_offset: 0 });
  again.socket.send(Buffer.from("g"));
  again.socket.send(Buffer.from("h"));
  expect(await again.until("stdout", (text) => text.length >= 4)).toBe("efgh");
  again.tell({ type: "signal", signal: "KILL" });
  expect(await again.sign("exit")).toMatchObject({ exit_code: 137, signal: "KILL" });
  // One that has ended is still told.
  using late = await open(server, { type: "attach", process_id }, id);
  expect(await late.sign("exit")).toMatchObject({ exit_code: 137 });
  expect(late.output.stdout.toString()).toBe("abcdefgh");
});

it("says when input is not taken, and goes on", async () => {
  await using server = await startTestServer();
  using peer = await open(server, { type: "start", command: "exec sleep 60", stdin: false });
  await peer.sign("started");
  peer.socket.send(Buffer.from("nobody reads this"));
  expect(await peer.sign("stdin_closed")).toMatchObject({ code: "state_conflict" });
  peer.tell({ type: "ping" });
  await peer.sign("pong");
});

it("closes with a code that says why", async () => {
  await using server = await startTestServer();
  const id = await sandboxOf(server);
  const cases: [object | string | Buffer, number, string][] = [
    [{ type: "attach", process_id: 99 }, 4404, "process_not_found"],
    [Buffer.from("binary first"), 4400, "invalid_request"],
    ["{not json", 4400, "invalid_request"],
    ["[]", 4400, "invalid_request"],
    [{ type: "nothing" }, 4400, "invalid_request"],
    [{ type: "start", command: "true", unknown: 1 }, 4400, "invalid_request"],
    [{ type: "start", command: "true", pty: { cols: 0, rows: 1 } }, 4400, "invalid_request"],
    [{ type: "resize", cols: 1, rows: 1 }, 4400, "invalid_request"],
    [`{"type":"start","command":"true","__proto__":{}}`, 4400, "invalid_request"],
  ];
  for (const [first, code, reason] of cases) {
    using peer = await open(server, undefined, id);
    if (Buffer.isBuffer(first)) peer.socket.send(first);
    else peer.tell(first);
    expect(await peer.sign("error")).toMatchObject({ code: reason });
    expect({ first, ...(await peer.closed) }).toEqual({ first, code, reason });
  }
  await server.operations.destroy(id);
  using gone = await open(server, { type: "start", command: "true" }, id);
  expect(await gone.closed).toEqual({ code: 4410, reason: "sandbox_destroyed" });
});

it("refuses what comes later and does not fit", async () => {
  await using server = await startTestServer();
  const id = await sandboxOf(server);
  for (const wrong of [
    { type: "start", command: "true" },
    { type: "ack", bytes: 1 },
    { type: "resize", cols: 2, rows: 2 },
    { type: "signal", signal: "kill me" },
    "{",
  ]) {
    using peer = await open(server, { type: "start", command: "exec sleep 60" }, id);
    await peer.sign("started");
    peer.tell(wrong);
    expect({ wrong, ...(await peer.closed) }).toMatchObject({ wrong, code: 4400 });
  }
  using acks = await open(server, { type: "start", command: "printf abc; exec sleep 60", window: 1024 }, id);
  await acks.until("stdout", (text) => text === "abc");
  acks.tell({ type: "ack", bytes: 3 });
  acks.tell({ type: "ack", bytes: 1 });
  expect(await acks.sign("error")).toMatchObject({ code: "invalid_request" });
  using giant = await open(server, { type: "start", command: "exec cat" }, id);
  giant.socket.send(Buffer.alloc(1_048_577));
  expect((await giant.closed).code).toBe(1009);
  expect((await fetch(`${server.url}/live`)).status).toBe(200);
});

it("sends no more than the window until some is acknowledged", async () => {
  await using server = await startTestServer();
  using peer = await open(server, { type: "start", command: "head -c 10000 /dev/zero; exec cat", window: 4096 });
  await peer.until("stdout", (text) => text.length >= 4096);
  // The answer to a ping comes behind all that was sent before it.
  peer.tell({ type: "ping" });
  await peer.sign("pong");
  expect(peer.output.stdout.length).toBe(4096);
  peer.tell({ type: "ack", bytes: 1000 });
  await peer.until("stdout", (text) => text.length >= 5096);
  peer.tell({ type: "ping" });
  await peer.sign("pong");
  expect(peer.output.stdout.length).toBe(5096);
  peer.tell({ type: "ack", bytes: 4096 });
  await peer.until("stdout", (text) => text.length >= 9192);
  peer.tell({ type: "ack", bytes: 4096 });
  await peer.until("stdout", (text) => text.length === 10_000);
});

it("refusals before the switch are HTTP answers, with a log line", async () => {
  await using server = await startTestServer();
  const id = await sandboxOf(server);
  await expect(new ExecPeer(server.url, id, { headers: {} }).opened()).rejects.toThrow("401");
  await expect(new ExecPeer(server.url, id, { headers: {}, query: "?token=x" }).opened()).rejects.toThrow("401");
  await expect(new ExecPeer(server.url, "nonsense").opened()).rejects.toThrow("404");
  await expect(new ExecPeer(server.url, id, { query: "?more=1" }).opened()).rejects.toThrow("400");
  const plain = await server.call("GET", `/sandboxes/${id}/exec/ws`);
  expect(plain.status).toBe(426);
  expect(await plain.json()).toMatchObject({ code: "invalid_request" });
  const logged = () => server.log.filter((line) => line["route"] === "/api/v1/sandboxes/:id/exec/ws").map((line) => String(line["status"]));
  // Each when its connection has gone, in whatever order.
  await expect.poll(() => logged().toSorted()).toEqual(["400", "401", "401", "404", "426"]);
  const raw = connect(Number(new URL(server.url).port), "127.0.0.1");
  raw.write(`GET /live HTTP/1.1\r\nHost: x\r\nX-API-Key: ${API_KEY}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`);
  const [answer] = (await once(raw, "data")) as [Buffer];
  expect(answer.toString()).toMatch(/^HTTP\/1\.1 400 [^]*problem\+json[^]*takes no protocol upgrade/);
  await once(raw, "close");
});

it("a token opens the socket of its sandbox and nothing else", async () => {
  await using server = await startTestServer();
  const [id, other] = [await sandboxOf(server), await sandboxOf(server)];
  const made = await server.call("POST", `/sandboxes/${id}/tokens`, { json: { action: "exec", ttl: "1h" } });
  expect(made.status).toBe(201);
  const { token, action, expires_at } = (await made.json()) as Token;
  expect(action).toBe("exec");
  expect(new Date(expires_at).getTime() - Date.now()).toBeGreaterThan(3_590_000);
  using peer = await new ExecPeer(server.url, id, { headers: {}, query: `?token=${token}` }).opened();
  peer.tell({ type: "start", command: "echo by token" });
  expect(await peer.until("stdout", (text) => text.endsWith("\n"))).toBe("by token\n");
  await expect(new ExecPeer(server.url, other, { headers: {}, query: `?token=${token}` }).opened()).rejects.toThrow("401");
  const by = async (path: string, method = "GET"): Promise<number> =>
    (await fetch(`${server.url}/api/v1/sandboxes/${path}?token=${token}`, { method })).status;
  expect(await Promise.all([by(id), by(`${id}/processes`), by(`${id}/processes/1`)])).toEqual([200, 200, 200]);
  expect(await Promise.all([by(other), by(id, "DELETE"), by(`${id}/exec`, "POST"), by(`${id}/files`)])).toEqual([401, 401, 401, 401]);
  for (const json of [{ action: "exec", ttl: "25h" }, { action: "exec", ttl: "0s" }, { action: "port" }, {}, { action: "exec", x: 1 }])
    expect({ json, status: (await server.call("POST", `/sandboxes/${id}/tokens`, { json })).status }).toEqual({ json, status: 400 });
  await server.operations.destroy(other);
  expect((await server.call("POST", `/sandboxes/${other}/tokens`, { json: { action: "exec" } })).status).toBe(410);
});

it("a closing server says 1001 and waits for nobody", async () => {
  await using server = await startTestServer();
  using peer = await open(server, { type: "start", command: "exec sleep 60" });
  using mute = await open(server, { type: "start", command: "exec sleep 60" });
  await Promise.all([peer.sign("started"), mute.sign("started")]);
  mute.socket.pause();
  const begun = performance.now();
  await Promise.all([server.server.close(), peer.closed]);
  expect(await peer.closed).toEqual({ code: 1001, reason: "shutting_down" });
  expect(performance.now() - begun).toBeLessThan(9_000);
  expect(server.operations.running).toBe(0);
});

it("a closing server waits for no peer that was told the end and does not take it", async () => {
  await using server = await startTestServer();
  using mute = await open(server, { type: "start", command: "exec cat" });
  await mute.sign("started");
  mute.tell({ type: "ack", bytes: 1 });
  mute.socket.pause();
  await expect.poll(() => server.operations.running).toBe(0);
  const begun = performance.now();
  await server.server.close();
  expect(performance.now() - begun).toBeLessThan(9_000);
});

it("a peer that is silent is ended, and its process is not", async () => {
  await using server = await startTestServer({ limits: { webSocketPingMs: 50 } });
  const id = await sandboxOf(server);
  using peer = await open(server, { type: "start", command: "exec sleep 60" }, id);
  const { process_id } = await peer.sign("started");
  // It keeps its connection and answers nothing any more.
  peer.socket.pause();
  await expect.poll(() => server.operations.running).toBe(0);
  const found = await server.call("GET", `/sandboxes/${id}/processes/${process_id}`);
  expect(await found.json()).toMatchObject({ running: true });
  using alive = await open(server, { type: "attach", process_id }, id);
  await alive.sign("started");
  // One that answers its pings stays.
  for (let i = 0; i < 10; i += 1) await once(alive.socket, "ping");
  expect(server.operations.running).toBe(1);
  await expect.poll(() => server.log.filter((line) => line["status"] === 101)).toMatchObject([{ remote: "127.0.0.1", key: "api" }]);
});

it("a flood of messages while the process takes nothing is bounded", async () => {
  await using server = await startTestServer();
  const id = await sandboxOf(server);
  using peer = await open(server, { type: "start", command: "exec sleep 60", window: 1024 }, id);
  await peer.sign("started");
  peer.socket.pause();
  // Neither its input nor its answers are taken: what it may send before it is stopped is bounded.
  for (let i = 0; i < 200; i += 1) peer.socket.send(Buffer.alloc(65_536));
  for (let i = 0; i < 200_000; i += 1) peer.tell({ type: "ping" });
  // The server keeps serving the others, and the flood stays where it came from.
  using other = await open(server, { type: "start", command: "echo fine" }, id);
  expect(await other.until("stdout", (text) => text.endsWith("\n"))).toBe("fine\n");
  expect(peer.socket.bufferedAmount).toBeGreaterThan(1_000_000);
});
