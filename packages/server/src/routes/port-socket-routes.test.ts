import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { WebSocket } from "ws";
import { API_KEY, startTestServer, type TestServer } from "../testing/test-server.ts";

let server: TestServer;
let id: string;
const open: { close(): unknown }[] = [];

beforeAll(async () => {
  server = await startTestServer();
  id = ((await (await server.call("POST", "/sandboxes", { json: {} })).json()) as { id: string }).id;
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

afterEach(() => {
  for (const one of open.splice(0)) one.close();
});

/** A TCP server "in the sandbox": the guest of these tests dials this machine's loopback. */
async function upstream(handler: (socket: Socket) => void): Promise<number> {
  const tcp = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => undefined);
    open.push({ close: () => socket.destroy() });
    handler(socket);
  });
  tcp.listen(0, "127.0.0.1");
  await once(tcp, "listening");
  open.push(tcp);
  return (tcp.address() as AddressInfo).port;
}

/** A client that notes what it is told. */
class Client {
  readonly socket: WebSocket;
  readonly signs: string[] = [];
  readonly closed: Promise<[number, string]>;
  received = 0;
  readonly bytes: Buffer[] = [];
  /** Bytes that were not acknowledged to us. */
  unacknowledged = 0;

  constructor(port: number, query = "", headers: Record<string, string> = { "x-api-key": API_KEY }) {
    this.socket = new WebSocket(
      `${server.url.replace("http", "ws")}/api/v1/sandboxes/${id}/ports/${port}/connect${query}`,
      "caisson.tcp.v1",
      {
        headers,
      },
    );
    this.closed = new Promise((resolve) => {
      this.socket.once("close", (code, reason) => resolve([code, String(reason)]));
    });
    this.socket.on("error", () => undefined);
    this.socket.on("message", (data: Buffer, binary) => {
      if (binary) {
        this.received += data.length;
        this.bytes.push(data);
        return;
      }
      const sign = JSON.parse(String(data)) as { type: string; bytes?: number };
      if (sign.type === "ack") this.unacknowledged -= sign.bytes ?? 0;
      else this.signs.push(sign.type);
    });
    open.push({ close: () => this.socket.terminate() });
  }

  tell(sign: object): void {
    this.socket.send(JSON.stringify(sign));
  }

  send(bytes: Buffer): void {
    this.unacknowledged += bytes.length;
    this.socket.send(bytes);
  }

  async heard(sign: string): Promise<void> {
    await vi.waitUntil(() => this.signs.includes(sign), { timeout: 20_000 });
  }
}

describe("connections to ports", () => {
  it("brings bytes both ways, and each side's end to the other", async () => {
    const port = await upstream((socket) => socket.pipe(socket));
    const client = new Client(port);
    await client.heard("connected");
    expect(client.socket.protocol).toBe("caisson.tcp.v1");
    const bytes = randomBytes(3_000_000);
    for (let at = 0; at < bytes.length; at += 500_000) client.send(bytes.subarray(at, at + 500_000));
    client.tell({ type: "end" });
    expect(await client.closed).toEqual([1000, "exit"]);
    expect(client.signs).toEqual(["connected", "end"]);
    expect(Buffer.concat(client.bytes).equals(bytes)).toBe(true);
    await expect.poll(() => server.operations.running).toBe(0);
  });

  it("takes bytes after the server has ended its side", async () => {
    const got = Promise.withResolvers<string>();
    const port = await upstream((socket) => {
      socket.end("bye");
      let text = "";
      socket.on("data", (chunk: Buffer) => (text += chunk.toString())).once("end", () => got.resolve(text));
    });
    const client = new Client(port);
    await client.heard("end");
    client.send(Buffer.from("still here"));
    client.tell({ type: "end" });
    expect(await got.promise).toBe("still here");
    expect(await client.closed).toEqual([1000, "exit"]);
    expect(Buffer.concat(client.bytes).toString()).toBe("bye");
  });

  it("sends no more than the window until it is acknowledged, and acknowledges what the server took", async () => {
    const size = 200_000;
    const port = await upstream((socket) => {
      socket.write(Buffer.alloc(size));
      socket.resume();
    });
    const client = new Client(port, "?window=10000");
    await vi.waitFor(() => expect(client.received).toBe(10_000), { timeout: 20_000 });
    client.send(Buffer.alloc(10_000));
    await vi.waitFor(() => expect(client.unacknowledged).toBe(0), { timeout: 20_000 });
    expect(client.received).toBe(10_000);
    for (let taken = 0; taken < size;) {
      await vi.waitFor(() => expect(client.received).toBeGreaterThan(taken), { timeout: 20_000 });
      client.tell({ type: "ack", bytes: client.received - taken });
      taken = client.received;
    }
    expect(client.received).toBe(size);
  });

  it("ends a client that sends more than the window, wrong text, or bytes after its end", async () => {
    const port = await upstream(() => undefined);
    const mistakes: [string, (client: Client) => void][] = [
      // The server in the sandbox reads nothing: kernel buffers take a few megabytes, then it counts.
      ["?window=1024", (client) => client.send(Buffer.alloc(1025))],
      ["?window=1024", (client) => client.tell({ type: "ack", bytes: 1 })],
      ["", (client) => client.tell({ type: "ack", bytes: 1 })],
      ["", (client) => client.tell({ type: "resize" })],
      ["", (client) => client.socket.send("{")],
      ["", (client) => (client.tell({ type: "end" }), client.send(Buffer.from("x")))],
    ];
    for (const [query, mistake] of mistakes) {
      const client = new Client(port, query);
      await client.heard("connected");
      mistake(client);
      expect(await client.closed).toEqual([4400, "invalid_request"]);
      expect(client.signs).toContain("error");
    }
  });

  it("slows the client down to the pace of the server in the sandbox", async () => {
    let sandboxSide: Socket | undefined;
    const port = await upstream((socket) => (sandboxSide = socket.pause()));
    const client = new Client(port);
    await client.heard("connected");
    const piece = Buffer.alloc(500_000);
    const total = 200;
    for (let i = 0; i < total; i += 1) client.send(piece);
    client.tell({ type: "end" });
    let before = -1;
    await vi.waitFor(
      () => {
        const stands = client.socket.bufferedAmount === before;
        before = client.socket.bufferedAmount;
        expect(stands).toBe(true);
      },
      { interval: 200, timeout: 20_000 },
    );
    expect(client.socket.bufferedAmount).toBeGreaterThan((total * piece.length) / 2);
    let received = 0;
    for await (const chunk of sandboxSide ?? []) received += (chunk as Buffer).length;
    expect(received).toBe(total * piece.length);
  });

  it("brings the last bytes of a client that goes at once", async () => {
    const got = Promise.withResolvers<string>();
    const port = await upstream((socket) => {
      let text = "";
      socket.on("data", (chunk: Buffer) => (text += chunk.toString())).once("end", () => got.resolve(text));
    });
    const client = new Client(port);
    await client.heard("connected");
    client.send(Buffer.from("last words"));
    client.socket.close();
    expect(await got.promise).toBe("last words");
    await expect.poll(() => server.operations.running).toBe(0);
  });

  it("holds up no server that closes while a client does not take its end", async () => {
    const port = await upstream(() => undefined);
    await using closing = await startTestServer();
    const { id: other } = (await (await closing.call("POST", "/sandboxes", { json: {} })).json()) as { id: string };
    const url = `${closing.url.replace("http", "ws")}/api/v1/sandboxes/${other}/ports/${port}/connect`;
    const socket = new WebSocket(url, "caisson.tcp.v1", { headers: { "x-api-key": API_KEY } });
    open.push({ close: () => socket.terminate() });
    await once(socket, "message");
    socket.pause();
    socket.send("no sign");
    await vi.waitFor(() => expect(closing.operations.running).toBe(0), { timeout: 20_000 });
    const begun = performance.now();
    await closing.server.close();
    expect(performance.now() - begun).toBeLessThan(9_000);
  });

  it("tells what is wrong: nothing listens, a reset, a token for another port", async () => {
    const port = await upstream((socket) => socket.once("data", () => socket.resetAndDestroy()));
    const reset = new Client(port);
    await reset.heard("connected");
    reset.send(Buffer.from("x"));
    expect(await reset.closed).toEqual([4502, "upstream_failed"]);

    const { token } = (await (await server.call("POST", `/sandboxes/${id}/ports/${port}/token`, { json: {} })).json()) as { token: string };
    const opened = new Client(port, `?token=${token}`, {});
    await opened.heard("connected");
    const status = (client: Client): Promise<number> =>
      once(client.socket, "unexpected-response").then(([, response]) => (response as { statusCode: number }).statusCode);
    expect(await status(new Client(port + 1, `?token=${token}`, {}))).toBe(401);
    expect(await status(new Client(port, "", {}))).toBe(401);

    for (const one of open.splice(0)) one.close();
    const refused = new Client(port);
    expect(await refused.closed).toEqual([4502, "connection_refused"]);
    expect(refused.signs).toEqual(["error"]);
  });
});
