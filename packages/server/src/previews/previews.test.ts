import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer as createHttp, type IncomingMessage, type RequestListener, type Server } from "node:http";
import { createServer as createTcp, type AddressInfo, type Socket } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { CaissonError } from "@caisson/contract";
import { ask, begin, sendRaw, type Asked } from "@caisson/testkit";
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

const KEY = { "x-api-key": API_KEY };

/** A server "in the sandbox": the guest of these tests dials this machine's loopback. */
async function upstream(handler: RequestListener): Promise<{ port: number; http: Server }> {
  const http = createHttp(handler);
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  open.push({ close: () => (http.closeAllConnections(), http.close()) });
  return { port: (http.address() as AddressInfo).port, http };
}

/** A server that answers a connection with these bytes, whatever it is asked. */
async function upstreamBytes(answer: string | ((socket: Socket) => void)): Promise<number> {
  const sockets = new Set<Socket>();
  const tcp = createTcp((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.once("data", () => (typeof answer === "string" ? socket.end(Buffer.from(answer, "latin1")) : answer(socket)));
  });
  tcp.listen(0, "127.0.0.1");
  await once(tcp, "listening");
  open.push({ close: () => (sockets.forEach((socket) => socket.destroy()), tcp.close()) });
  return (tcp.address() as AddressInfo).port;
}

const hostOf = (port: number): string => `${port}-${id}.localhost:${new URL(server.url).port}`;
const byHost = (port: number, path = "/", asked: Asked = {}): ReturnType<typeof ask> =>
  ask(server.url, path, { host: hostOf(port), headers: KEY, ...asked });
const byPath = (port: number, path = "/", asked: Asked = {}): ReturnType<typeof ask> =>
  ask(server.url, `/preview/${id}/${port}${path}`, { headers: KEY, ...asked });

async function link(port: number, json: object = {}): Promise<{ token: string; url: string; expires_at: string }> {
  return (await (await server.call("POST", `/sandboxes/${id}/ports/${port}/token`, { json })).json()) as never;
}

async function bodyOf(message: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

describe("HTTP", () => {
  it("brings a request and its answer through, by host and by path, each with its header", async () => {
    const seen: IncomingMessage[] = [];
    const { port } = await upstream((message, response) => {
      seen.push(message);
      response.writeHead(201, { "x-answer": "yes", "content-type": "text/plain" }).end("hello");
    });
    const host = await byHost(port, "/a%2Fb/?q=1&q=2", {
      headers: { ...KEY, "x-own": "kept", "x-forwarded-for": "6.6.6.6", forwarded: "for=x" },
    });
    expect([host.status, host.headers["x-answer"], host.body.toString()]).toEqual([201, "yes", "hello"]);
    const path = await byPath(port, "/a%2Fb/?q=1&q=2");
    expect([path.status, path.body.toString()]).toEqual([201, "hello"]);
    expect(seen.map((one) => [one.url, one.headers.host, one.headers["x-forwarded-for"], one.headers["x-forwarded-proto"]])).toEqual([
      ["/a%2Fb/?q=1&q=2", hostOf(port), "127.0.0.1", "http"],
      ["/a%2Fb/?q=1&q=2", new URL(server.url).host, "127.0.0.1", "http"],
    ]);
    expect(seen[0]?.headers).toMatchObject({ "x-own": "kept", "x-forwarded-host": hostOf(port) });
    expect(seen[0]?.headers["forwarded"]).toBeUndefined();
    expect(seen[1]?.headers["x-forwarded-prefix"]).toBe(`/preview/${id}/${port}`);
  });

  it("brings large bodies through both ways, byte for byte, with a length and chunked", async () => {
    const { port } = await upstream((message, response) => {
      response.writeHead(
        200,
        message.headers["content-length"] === undefined ? {} : { "content-length": message.headers["content-length"] },
      );
      message.pipe(response);
    });
    const bytes = randomBytes(5_000_000);
    const whole = await byHost(port, "/", { method: "POST", body: bytes });
    expect(whole.headers["content-length"]).toBe("5000000");
    expect(whole.body.equals(bytes)).toBe(true);
    async function* chunks(): AsyncGenerator<Buffer> {
      for (let i = 0; i < bytes.length; i += 70_001) yield bytes.subarray(i, i + 70_001);
    }
    const chunked = await byHost(port, "/", { method: "GET", body: chunks(), headers: { ...KEY, "transfer-encoding": "chunked" } });
    expect(chunked.headers["transfer-encoding"]).toBe("chunked");
    expect(chunked.body.equals(bytes)).toBe(true);
  });

  it("answers HEAD with the length and no body, and keeps the connection for the next request", async () => {
    const { port } = await upstream((message, response) => void response.writeHead(200, { "content-length": 5 }).end(message.method));
    const request = (method: string): string => `${method} / HTTP/1.1\r\nHost: ${hostOf(port)}\r\nX-API-Key: ${API_KEY}\r\n`;
    const text = await sendRaw(server.url, `${request("HEAD")}\r\n${request("GET")}Connection: close\r\n\r\n`);
    expect(text.match(/HTTP\/1\.1 200/g)).toHaveLength(2);
    expect(text.match(/content-length: 5/g)).toHaveLength(2);
    expect(text.endsWith("\r\n\r\nGET")).toBe(true);
  });

  it("lets the server in the sandbox say whether to go on with a body", async () => {
    const { port, http } = await upstream((_message, response) => void response.end("unasked"));
    http.on("checkContinue", (message: IncomingMessage, response) => {
      if (message.url === "/no") return response.writeHead(413).end("too much");
      response.writeContinue();
      return void bodyOf(message).then((body) => response.end(`got ${body.length}`));
    });
    const post = (path: string): string =>
      `POST ${path} HTTP/1.1\r\nHost: ${hostOf(port)}\r\nX-API-Key: ${API_KEY}\r\nExpect: 100-continue\r\nContent-Length: 4\r\nConnection: close\r\n\r\n`;
    expect(await sendRaw(server.url, `${post("/yes")}abcd`)).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK[^]*got 4/);
    expect(await sendRaw(server.url, post("/no"))).toMatch(/^HTTP\/1\.1 413 [^]*too much/);
  });

  it("sends events when they happen", async () => {
    let push: ((text: string) => void) | undefined;
    const { port } = await upstream((_message, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" }).flushHeaders();
      push = (text) => void response.write(text);
    });
    const answer = await begin(server.url, "/", { host: hostOf(port), headers: KEY });
    expect(answer.headers["content-type"]).toBe("text/event-stream");
    for (const event of ["data: 1\n\n", "data: 2\n\n"]) {
      const next = once(answer, "data");
      push?.(event);
      expect(String((await next)[0])).toBe(event);
    }
    answer.destroy();
  });

  it("ends the request in the sandbox when the client goes away", async () => {
    const gone = Promise.withResolvers<void>();
    const { port } = await upstream((message, response) => {
      message.once("close", () => gone.resolve());
      response.writeHead(200).flushHeaders();
    });
    const answer = await begin(server.url, "/", { host: hostOf(port), headers: KEY });
    answer.destroy();
    await gone.promise;
    await expect.poll(() => server.operations.running).toBe(0);
  });

  it("slows the server in the sandbox down to the pace of the client", async () => {
    const size = 200_000_000;
    let sent = 0;
    const { port } = await upstream((_message, response) => {
      const chunk = Buffer.alloc(1_000_000);
      const more = (): void => {
        while (sent < size) {
          sent += chunk.length;
          if (!response.write(chunk)) return void response.once("drain", more);
        }
        response.end();
      };
      more();
    });
    const answer = await begin(server.url, "/", { host: hostOf(port), headers: KEY });
    let before = -1;
    // It stands when nobody reads: all buffers on the way are full then.
    await vi.waitFor(
      () => {
        const stands = sent === before;
        before = sent;
        expect(stands).toBe(true);
      },
      { interval: 200, timeout: 20_000 },
    );
    expect(sent).toBeLessThan(size / 4);
    let received = 0;
    for await (const chunk of answer) received += (chunk as Buffer).length;
    expect(received).toBe(size);
  });
});

describe("WebSocket", () => {
  async function echo(): Promise<number> {
    const { port, http } = await upstream((_message, response) => void response.writeHead(404).end("no socket here"));
    const sockets = new WebSocketServer({ server: http, path: "/ws", maxPayload: 100_000_000 });
    sockets.on("connection", (socket) => socket.on("message", (data, binary) => socket.send(data, { binary })));
    return port;
  }
  const dial = (port: number, path: string, headers: Record<string, string> = KEY, subprotocol?: string): WebSocket =>
    new WebSocket(`${server.url.replace("http", "ws")}${path}`, subprotocol, {
      headers: { host: hostOf(port), ...headers },
      maxPayload: 100_000_000,
    });

  it("echoes messages, small and of megabytes, and closes with the code given", async () => {
    const port = await echo();
    const socket = dial(port, "/ws");
    await once(socket, "open");
    socket.send("hello");
    expect(String((await once(socket, "message"))[0])).toBe("hello");
    const big = randomBytes(20_000_000);
    socket.send(big);
    expect(big.equals((await once(socket, "message"))[0] as Buffer)).toBe(true);
    socket.close(4001, "done");
    expect(await once(socket, "close").then(([code, reason]) => [code, String(reason)])).toEqual([4001, "done"]);
    await expect.poll(() => server.operations.running).toBe(0);
  });

  it("gives the answer when the server does not switch, and an error when access is missing", async () => {
    const port = await echo();
    const refused = async (socket: WebSocket): Promise<number> => {
      socket.on("error", () => undefined);
      const [, response] = (await once(socket, "unexpected-response")) as [unknown, IncomingMessage];
      socket.terminate();
      return response.statusCode ?? 0;
    };
    expect(await refused(dial(port, "/nowhere"))).toBe(400);
    expect(await refused(dial(port, "/ws", {}))).toBe(401);
  });

  it("takes a token in the address, and no other protocol than WebSocket", async () => {
    const port = await echo();
    const { token } = await link(port);
    const socket = dial(port, `/ws?caisson_token=${token}`, {});
    await once(socket, "open");
    socket.terminate();
    const h2c = await sendRaw(
      server.url,
      `GET / HTTP/1.1\r\nHost: ${hostOf(port)}\r\nX-API-Key: ${API_KEY}\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n`,
    );
    expect(h2c).toMatch(/^HTTP\/1\.1 400 [^]*invalid_request/);
  });
});

describe("access", () => {
  const hello: RequestListener = (message, response) => void response.end(JSON.stringify([message.url, message.headers]));

  it("refuses without key, token or cookie: a page for browsers, a problem for others", async () => {
    const { port } = await upstream(hello);
    const problem = await byHost(port, "/", { headers: {} });
    expect(problem.status).toBe(401);
    expect(JSON.parse(problem.body.toString())).toMatchObject({ code: "unauthorized", status: 401 });
    const page = await byHost(port, "/", { headers: { accept: "text/html,*/*" } });
    expect([page.status, page.headers["content-type"]]).toEqual([401, "text/html; charset=utf-8"]);
    expect(page.body.toString()).toContain(`caisson url ${id} ${port}`);
    for (const key of ["wrong-key-0123456789", ""]) expect((await byHost(port, "/", { headers: { "x-api-key": key } })).status).toBe(401);
  });

  it("turns the token of a link into a cookie for this preview, and opens with it", async () => {
    const { port } = await upstream(hello);
    const { url, expires_at } = await link(port, { ttl: "10m" });
    expect(new URL(url).host).toBe(hostOf(port));
    expect(new Date(expires_at).getTime() - Date.now()).toBeGreaterThan(590_000);
    const { search } = new URL(url);
    const first = await byHost(port, `/page${search}&a=1`, { headers: { accept: "text/html" } });
    expect([first.status, first.headers.location]).toEqual([303, "/page?a=1"]);
    const [set = ""] = first.headers["set-cookie"] ?? [];
    expect(set).toMatch(/^caisson_preview=[^;]+; Path=\/; Max-Age=(5\d\d|600); HttpOnly; SameSite=Lax$/);
    const cookie = set.split(";")[0] ?? "";
    const opened = await byHost(port, "/page?a=1", { headers: { cookie: `theirs=1; ${cookie}; more=2` } });
    expect(opened.status).toBe(200);
    const [, headers] = JSON.parse(opened.body.toString()) as [string, Record<string, string>];
    expect(headers["cookie"]).toBe("theirs=1; more=2");
    // Not one of another port, nor changed by a character.
    const other = await upstream(hello);
    expect((await byHost(other.port, "/", { headers: { cookie } })).status).toBe(401);
    const at = cookie.lastIndexOf(".") + 1;
    const changed = `${cookie.slice(0, at)}${cookie[at] === "A" ? "B" : "A"}${cookie.slice(at + 1)}`;
    expect((await byHost(port, "/", { headers: { cookie: changed } })).status).toBe(401);
    // A program gets the page at once, and the server in the sandbox never sees the token.
    const direct = await byHost(port, `/x${search}&b=2`, { headers: {} });
    expect([direct.status, (JSON.parse(direct.body.toString()) as [string])[0]]).toEqual([200, "/x?b=2"]);
  });

  it("lets no other page use the cookie", async () => {
    const { port } = await upstream(hello);
    const { token } = await link(port);
    const cookie = `caisson_preview=${token}`;
    const status = async (headers: Record<string, string>): Promise<number> =>
      (await byHost(port, "/", { headers: { cookie, ...headers } })).status;
    expect(await status({ origin: `http://${hostOf(port)}` })).toBe(200);
    expect(await status({ "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate" })).toBe(200);
    expect(await status({ origin: "http://evil.example" })).toBe(401);
    expect(await status({ origin: `http://${hostOf(port + 1)}` })).toBe(401);
    expect(await status({ origin: "null" })).toBe(401);
    expect(await status({ "sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors" })).toBe(401);
  });

  it("opens public ports to anyone, until they are private again", async () => {
    const { port } = await upstream(hello);
    const put = await server.call("PUT", `/sandboxes/${id}/ports/${port}`, { json: { public: true } });
    expect(await put.json()).toEqual({ port, published: true, public: true, url: `http://${hostOf(port)}/` });
    expect((await byHost(port, "/", { headers: {} })).status).toBe(200);
    expect((await byHost(port, "/", { headers: { authorization: "Bearer its-own" } })).body.toString()).toContain("Bearer its-own");
    expect((await server.call("DELETE", `/sandboxes/${id}/ports/${port}`)).status).toBe(204);
    expect((await byHost(port, "/", { headers: {} })).status).toBe(401);
  });

  it("never shows our credentials to the server in the sandbox", async () => {
    const { port } = await upstream(hello);
    const { token } = await link(port);
    const answers = [
      await byHost(port, "/", { headers: { "x-api-key": API_KEY, "x-admin-api-key": "" } }),
      await byHost(port, "/", { headers: { authorization: `Bearer ${API_KEY}` } }),
      await byHost(port, `/?caisson_token=${token}`, {
        headers: { referer: `http://x/?caisson_token=${token}`, cookie: `caisson_preview=${token}` },
      }),
      await byPath(port, "/", { headers: { ...KEY, cookie: "jupyter=secret" } }),
    ];
    for (const { status, body } of answers) {
      expect(status).toBe(200);
      for (const secret of [API_KEY, token, "jupyter"]) expect(body.toString()).not.toContain(secret);
    }
  });

  it("makes no links for ended sandboxes or for longer than a day", async () => {
    expect((await server.call("POST", `/sandboxes/${id}/ports/80/token`, { json: { ttl: "25h" } })).status).toBe(400);
    for (const port of ["0", "65536", "080", "http"])
      expect((await server.call("POST", `/sandboxes/${id}/ports/${port}/token`, { json: {} })).status).toBe(400);
  });
});

describe("previews by path", () => {
  it("confines the page: no cookies, an origin of its own, addresses below its path", async () => {
    const { port } = await upstream((message, response) => {
      if (message.url === "/") response.setHeader("location", "/login");
      response.setHeader("set-cookie", "a=1");
      response.setHeader("clear-site-data", '"*"');
      response.setHeader("alt-svc", 'h2=":1"');
      response.setHeader("content-security-policy", "img-src *");
      response.writeHead(message.url === "/" ? 302 : 200).end();
    });
    const answer = await byPath(port);
    expect(answer.headers).toMatchObject({ location: `/preview/${id}/${port}/login` });
    const csp = String(answer.headers["content-security-policy"]);
    expect(csp).toContain("sandbox allow-scripts");
    expect(csp).not.toContain("allow-same-origin");
    for (const name of ["set-cookie", "clear-site-data", "alt-svc"]) expect(answer.headers[name]).toBeUndefined();
    const bare = await byPath(port, "?a=1");
    expect([bare.status, bare.headers.location]).toEqual([308, `/preview/${id}/${port}/?a=1`]);
  });

  it("keeps cookies of previews by host on their host", async () => {
    const { port } = await upstream((_message, response) => {
      response.setHeader("set-cookie", ["a=1; Domain=localhost; Path=/", "caisson_preview=forged", "b=2; HttpOnly"]);
      response.end();
    });
    expect((await byHost(port)).headers["set-cookie"]).toEqual(["a=1; Path=/", "b=2; HttpOnly"]);
  });
});

describe("what does not answer, or answers wrongly", () => {
  const code = async (port: number, asked: Asked = {}): Promise<[number, string]> => {
    const { status, body } = await byHost(port, "/", asked);
    return [status, (JSON.parse(body.toString()) as { code: string }).code];
  };

  it("tells that nothing listens, to browsers as a page", async () => {
    const port = await upstreamBytes("");
    open.splice(0).forEach((one) => one.close());
    expect(await code(port)).toEqual([502, "connection_refused"]);
    const page = await byHost(port, "/", { headers: { ...KEY, accept: "text/html" } });
    expect([page.status, page.headers["content-type"]]).toEqual([502, "text/html; charset=utf-8"]);
    expect(page.body.toString()).toContain("Start the server in the sandbox first.");
  });

  it.each([
    ["nothing", ""],
    ["no HTTP", "SSH-2.0-OpenSSH_9.2\r\n"],
    ["an endless head", `HTTP/1.1 200 OK\r\n${"x-filler: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n".repeat(4000)}\r\n`],
    ["two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 5\r\n\r\nabcde"],
    ["a length and chunks", "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"],
    ["a negative length", "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n"],
    ["control characters", "HTTP/1.1 200 OK\r\nx: a\x01b\r\ncontent-length: 0\r\n\r\n"],
    ["a bare line feed", "HTTP/1.1 200 OK\nx: y\n\n"],
    ["a status that is none", "HTTP/1.1 999 OK\r\ncontent-length: 0\r\n\r\n"],
    [
      "a switch nobody asked for",
      "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    ],
    ["a space in a name", "HTTP/1.1 200 OK\r\nx y: 1\r\ncontent-length: 0\r\n\r\n"],
  ])("answers 502 to %s", async (_what, bytes) => {
    expect(await code(await upstreamBytes(bytes))).toEqual([502, "upstream_failed"]);
    expect((await fetch(`${server.url}/live`)).status).toBe(200);
  });

  it("breaks the client's connection when an answer breaks off", async () => {
    for (const head of ["content-length: 100", "transfer-encoding: chunked"]) {
      const port = await upstreamBytes(`HTTP/1.1 200 OK\r\n${head}\r\n\r\n${head.startsWith("c") ? "abc" : "3\r\nabc\r\n"}`);
      await expect(byHost(port)).rejects.toMatchObject({ code: "ECONNRESET" });
    }
  });

  it("gives up on a server that thinks for too long", async () => {
    const port = await upstreamBytes(() => undefined);
    await using impatient = await startTestServer({ limits: { previewHeadMs: 50 } });
    const made = (await (await impatient.call("POST", "/sandboxes", { json: {} })).json()) as { id: string };
    const late = await ask(impatient.url, `/preview/${made.id}/${port}/`, { headers: KEY });
    expect([late.status, (JSON.parse(late.body.toString()) as { code: string }).code]).toEqual([504, "deadline_exceeded"]);
  });

  it("says what became of the sandbox: 410 to anyone once it has ended, 404 when there is none", async () => {
    const made = (await (await server.call("POST", "/sandboxes", { json: {} })).json()) as { id: string };
    await server.call("DELETE", `/sandboxes/${made.id}`);
    const status = async (one: string, headers: Record<string, string>): Promise<number> =>
      (await ask(server.url, `/preview/${one}/8000/`, { headers })).status;
    expect(await status(made.id, KEY)).toBe(410);
    expect(await status(made.id, {})).toBe(410);
    const never = `${made.id.slice(0, -1)}${made.id.endsWith("0") ? "1" : "0"}`;
    expect(await status(never, KEY)).toBe(404);
    expect(await status(never, {})).toBe(401);
    expect(await status("sb", KEY)).toBe(404);
  });

  it("says how a sandbox is that does not run now, to those who may know it", async () => {
    const { port } = await upstream((_message, response) => response.end("runs"));
    const message = "The sandbox is paused.";
    const guest = vi
      .spyOn(server.operations, "withGuest")
      .mockRejectedValue(new CaissonError("state_conflict", message, { detail: { state: "paused" } }));
    try {
      const problem = await byHost(port, "/");
      expect([problem.status, JSON.parse(problem.body.toString())]).toEqual([409, expect.objectContaining({ code: "state_conflict" })]);
      const page = await byPath(port, "/", { headers: { ...KEY, accept: "text/html" } });
      expect([page.status, page.body.toString()]).toEqual([409, expect.stringContaining(message)]);
      expect((await byHost(port, "/", { headers: {} })).status).toBe(401);
    } finally {
      guest.mockRestore();
    }
    expect((await byHost(port, "/")).body.toString()).toBe("runs");
  });
});
