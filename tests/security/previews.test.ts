import { once } from "node:events";
import { createServer, type AddressInfo, type Server } from "node:net";
import type { ExecResult, PortList, PortToken, Sandbox } from "@caisson/contract";
import { ask, sendRaw } from "@caisson/testkit";
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { TestServer } from "../harness/server.ts";

/** Writes down every byte it gets, and then answers each connection once. */
const LOGGER = `
const { appendFileSync } = require("node:fs");
require("node:net").createServer((socket) => {
  socket.on("error", () => {});
  socket.on("data", (bytes) => appendFileSync("/tmp/seen", bytes));
  socket.once("data", () => socket.write("HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\nguest"));
}).listen(Number(process.argv[1]), "127.0.0.1");
`;

let server: TestServer;
let victim: Sandbox;
let neighbour: Sandbox;
let canary: Server;
/** Port of a server on the host's loopback, of the neighbour's logger, and of no one in the victim. */
let canaryPort: number;
let touched = 0;

beforeAll(async () => {
  server = await TestServer.start();
  [victim, neighbour] = await Promise.all([server.json<Sandbox>("POST", "/sandboxes", {}), server.json<Sandbox>("POST", "/sandboxes", {})]);
  canary = createServer((socket) => {
    touched += 1;
    socket.end("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\ncanary");
  });
  canary.listen(0, "127.0.0.1");
  await once(canary, "listening");
  canaryPort = (canary.address() as AddressInfo).port;
  await start(victim, 8000);
  await start(neighbour, canaryPort);
  await vi.waitUntil(async () => (await ports(victim)).length === 1 && (await ports(neighbour)).length === 1, { timeout: 120_000 });
});

afterAll(async () => {
  canary.close();
  await server[Symbol.asyncDispose]();
});

beforeEach(async () => {
  await run(victim, ": > /tmp/seen");
});

async function run(sandbox: Sandbox, command: string): Promise<string> {
  return (await server.json<ExecResult>("POST", `/sandboxes/${sandbox.id}/exec`, { command })).stdout;
}

async function start(sandbox: Sandbox, port: number): Promise<void> {
  await server.json("POST", `/sandboxes/${sandbox.id}/exec`, { command: "node", args: ["-e", LOGGER, String(port)], background: true });
}

async function ports(sandbox: Sandbox): Promise<readonly number[]> {
  return (await server.json<PortList>("GET", `/sandboxes/${sandbox.id}/ports`)).items.map((one) => one.port);
}

/** What the server in the victim got, byte for byte. */
const seen = (): Promise<string> => run(victim, "cat /tmp/seen");
const hostOf = (port: number, sandbox = victim): string => `${port}-${sandbox.id}.localhost`;
const raw = (line: string, headers: string[], body = ""): Promise<string> =>
  sendRaw(server.url, `${line}\r\n${headers.map((one) => `${one}\r\n`).join("")}\r\n${body}`);
const key = (): string => `X-API-Key: ${server.apiKey}`;

describe("a preview reaches its sandbox and nothing else", () => {
  it("not the host's loopback, not another sandbox, not the server itself", async () => {
    for (const port of [canaryPort, Number(new URL(server.url).port)]) {
      const headers = { "x-api-key": server.apiKey };
      expect((await ask(server.url, "/", { host: hostOf(port), headers })).status).toBe(502);
      expect((await ask(server.url, `/preview/${victim.id}/${port}/`, { headers })).status).toBe(502);
    }
    expect(touched).toBe(0);
    // The agent has no port at all: what listens is what was started.
    expect(await ports(victim)).toEqual([8000]);
  });

  it("whatever the target, the Host or the method says", async () => {
    const there = `127.0.0.1:${canaryPort}`;
    const attempts: [string, string[]][] = [
      [`GET http://${there}/ HTTP/1.1`, [`Host: ${hostOf(8000)}`]],
      [`GET http://${there}/ HTTP/1.1`, [`Host: ${there}`]],
      [`GET http://${hostOf(8000)}/ HTTP/1.1`, [`Host: ${there}`]],
      [`GET @${there}/ HTTP/1.1`, [`Host: ${hostOf(8000)}`]],
      [`GET ${there}/ HTTP/1.1`, [`Host: ${hostOf(8000)}`]],
      [`OPTIONS * HTTP/1.1`, [`Host: ${hostOf(8000)}`]],
      [`CONNECT ${there} HTTP/1.1`, [`Host: ${hostOf(8000)}`]],
      [`CONNECT ${there} HTTP/1.1`, [`Host: ${there}`]],
      ["GET / HTTP/1.1", [`Host: ${hostOf(8000)}@${there}`]],
      ["GET / HTTP/1.1", [`Host: ${there}#.${hostOf(8000)}`]],
      ["GET / HTTP/1.1", [`Host: ${hostOf(8000)}.${there}`]],
      ["GET / HTTP/1.1", [`Host: ${there}`, `X-Forwarded-Host: ${hostOf(8000)}`]],
      ["GET / HTTP/1.1", [`Host: ${there}`, `Host: ${hostOf(8000)}`]],
      ["GET / HTTP/1.1", [`Host: 8000-${victim.id.slice(0, -1)}*.localhost`]],
      ["GET / HTTP/1.1", [`Host: 0-${victim.id}.localhost`]],
      ["GET / HTTP/1.1", [`Host: 65537-${victim.id}.localhost`]],
      [`GET /preview/${victim.id}/${there}/ HTTP/1.1`, [`Host: ${there}`]],
      [`GET /preview/${victim.id}%2f..%2f${neighbour.id}/${canaryPort}/ HTTP/1.1`, [`Host: ${there}`]],
      [`GET /preview/${victim.id}/8000@${there}/ HTTP/1.1`, [`Host: ${there}`]],
      [`GET /preview/../preview/${victim.id}/8000/ HTTP/1.1`, [`Host: ${there}`]],
    ];
    for (const [line, headers] of attempts) {
      const answer = await raw(line, [...headers, key(), "Connection: close"]);
      // What is not refused is the API's own: its front page.
      expect([line, headers, answer]).toEqual([
        line,
        headers,
        expect.toSatisfy((text: string) => !/canary|guest|HTTP\/1\.1 [12]/.test(text)),
      ]);
    }
    expect(touched).toBe(0);
    expect(await seen()).toBe("");
  });

  it("and is no way into the API, as the API is none into it", async () => {
    const get = async (path: string, host: string): Promise<string> =>
      (await ask(server.url, path, { host, headers: { "x-api-key": server.apiKey } })).body.toString();
    for (const path of ["/api/v1/sandboxes", "/live", "/docs", "/openapi.json", `/preview/${neighbour.id}/${canaryPort}/`])
      for (const host of [hostOf(8000), hostOf(8000).toUpperCase(), `${hostOf(8000)}.`, `${hostOf(8000)}:1`])
        expect([path, host, await get(path, host)]).toEqual([path, host, "guest"]);
    // A name below the domain that is no preview's belongs to the API: and asks for a key like every other.
    expect((await ask(server.url, "/api/v1/sandboxes", { host: `x-${victim.id}.localhost` })).status).toBe(401);
  });

  it("keeps paths as they are: slashes, dots and line breaks that are encoded stay so", async () => {
    const paths = ["/a%2f..%2f..%2fetc/passwd", "/a/../../b", "//127.0.0.1/x", "/%0d%0aX-Injected:%201", "/%00%ff", "/?a=%0d%0a&b=/../"];
    for (const path of paths)
      expect(await raw(`GET ${path} HTTP/1.1`, [`Host: ${hostOf(8000)}`, key(), "Connection: close"])).toContain("guest");
    const got = await seen();
    expect([...got.matchAll(/^GET (\S+) HTTP\/1\.1\r$/gm)].map((match) => match[1])).toEqual(paths);
    expect(got).not.toMatch(/^X-Injected/m);
    for (const path of ["/a\rb", "/a b", "/\0", "/a\tb"])
      expect([path, await raw(`GET ${path} HTTP/1.1`, [`Host: ${hostOf(8000)}`, key(), "Connection: close"])]).toEqual([
        path,
        expect.stringMatching(/^HTTP\/1\.1 400 /),
      ]);
  });
});

describe("requests are one thing to everybody", () => {
  const hidden = `GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n`;

  it.each([
    ["a length and chunks", ["Content-Length: 5", "Transfer-Encoding: chunked"], `0\r\n\r\n${hidden}`],
    ["chunks and a length", ["Transfer-Encoding: chunked", "Content-Length: 5"], `0\r\n\r\n${hidden}`],
    ["two lengths", ["Content-Length: 0", `Content-Length: ${hidden.length}`], hidden],
    ["a list of lengths", [`Content-Length: 0, ${hidden.length}`], hidden],
    ["a signed length", [`Content-Length: +${hidden.length}`], hidden],
    ["another coding", ["Transfer-Encoding: xchunked"], `0\r\n\r\n${hidden}`],
    ["chunks that are not last", ["Transfer-Encoding: chunked, identity"], `0\r\n\r\n${hidden}`],
    ["a blank before the colon", ["Transfer-Encoding : chunked"], `0\r\n\r\n${hidden}`],
    ["a folded header", ["X: y\r\n Transfer-Encoding: chunked"], `0\r\n\r\n${hidden}`],
    ["an overflowing chunk", ["Transfer-Encoding: chunked"], `fffffffffffffffff0\r\n${hidden}`],
    ["a bare line feed in a chunk", ["Transfer-Encoding: chunked"], `1\nX\n0\n\n${hidden}`],
    ["a length that Connection takes away", ["Connection: Content-Length, close", `Content-Length: ${hidden.length}`], hidden],
    ["chunks on a GET", ["Transfer-Encoding: chunked"], `${hidden.length.toString(16)}\r\n${hidden}\r\n0\r\n\r\n`],
    ["a switch with a body", ["Upgrade: websocket", "Connection: Upgrade", `Content-Length: ${hidden.length}`], hidden],
  ])("%s", async (_what, headers, body) => {
    const close = headers.some((one) => /^connection:/i.test(one)) ? [] : ["Connection: close"];
    for (const method of ["GET", "POST"]) {
      const answer = sendRaw(
        server.url,
        `${method} /first HTTP/1.1\r\nHost: ${hostOf(8000)}\r\n${key()}\r\n${[...headers, ...close].join("\r\n")}\r\n\r\n${body}`,
      );
      // A connection that waits for more of a body is one that the server breaks by itself, later.
      await Promise.race([answer, new Promise((resolve) => setTimeout(resolve, 2_000).unref())]);
    }
    // Where the bytes came through, they came as the body of the first request: framed by its length or a chunk, in its connection.
    const got = await seen();
    for (const part of got.split(/(?=^(?:GET|POST) \/first )/m)) {
      const at = part.indexOf("GET /smuggled");
      if (at < 0) continue;
      const head = part.slice(0, at);
      const framed = head.includes(`Content-Length: ${hidden.length}\r\n`) || head.endsWith(`\r\n\r\n${hidden.length.toString(16)}\r\n`);
      expect([head, framed]).toEqual([head, true]);
    }
  });

  it("takes a second Host for a mistake", async () => {
    const answer = await raw("GET / HTTP/1.1", [`Host: ${hostOf(8000)}`, `Host: ${hostOf(8000, neighbour)}`, key(), "Connection: close"]);
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    expect(await seen()).toBe("");
  });
});

describe("credentials", () => {
  it("are never seen in the sandbox, whichever way they come", async () => {
    const { token } = await server.json<PortToken>("POST", `/sandboxes/${victim.id}/ports/8000/token`, {});
    const secrets = [server.apiKey, server.adminKey, token];
    const ways: [string, string[]][] = [
      ["/", [`X-API-Key: ${server.apiKey}`]],
      ["/", [`x-api-key: ${server.apiKey}`, `X-ADMIN-API-KEY: ${server.adminKey}`]],
      ["/", [`X-Admin-API-Key: ${server.adminKey}`]],
      ["/", [`Authorization: Bearer ${server.apiKey}`]],
      ["/", [`Authorization: bearer   ${server.adminKey}`]],
      [`/?caisson_token=${token}`, []],
      [`/?a=1&caisson_token=${token}&caisson_token=${token}&b=2`, [`Referer: http://${hostOf(8000)}/?caisson_token=${token}`]],
      ["/", [`Cookie: a=1; caisson_preview=${token}; b=2`]],
      ["/", [`Cookie: caisson_preview=x; caisson_preview=${token}`]],
      ["/", [`X-API-Key: ${server.apiKey}`, `Cookie: caisson_preview=${token}`]],
      ["/", [`X-API-Key: ${server.apiKey}`, "Connection: X-Own, close"]],
    ];
    for (const [path, headers] of ways) {
      const answer = await raw(`GET ${path} HTTP/1.1`, [
        `Host: ${hostOf(8000)}`,
        ...headers,
        ...(headers.some((one) => one.startsWith("Connection")) ? [] : ["Connection: close"]),
      ]);
      expect([path, answer]).toEqual([path, expect.stringContaining("guest")]);
    }
    // And to a public port, where nobody asks for them; a key that is not valid any more too.
    await server.json("PUT", `/sandboxes/${victim.id}/ports/8000`, { public: true });
    const old = "cak_0000000000000000000000000000000000000000000";
    for (const one of [
      `X-API-Key: ${server.apiKey}`,
      `X-API-Key: ${old}`,
      `Authorization: Bearer ${server.apiKey}`,
      `Authorization: Bearer ${old}`,
    ])
      expect(await raw("GET / HTTP/1.1", [`Host: ${hostOf(8000)}`, one, "Connection: close"])).toContain("guest");
    await server.fetch("DELETE", `/sandboxes/${victim.id}/ports/8000`);
    const got = await seen();
    expect(got.match(/^GET /gm)?.length).toBe(ways.length + 4);
    for (const secret of [...secrets, old]) expect(got).not.toContain(secret);
  });

  it("of a link open that port alone, and lead to no other host", async () => {
    const { token } = await server.json<PortToken>("POST", `/sandboxes/${victim.id}/ports/8000/token`, {});
    const status = async (path: string, host: string): Promise<number> => (await ask(server.url, path, { host })).status;
    expect(await status(`/?caisson_token=${token}`, hostOf(8001))).toBe(401);
    expect(await status(`/?caisson_token=${token}`, hostOf(8000, neighbour))).toBe(401);
    expect((await fetch(`${server.url}/api/v1/sandboxes/${victim.id}/ports?token=${token}`)).status).toBe(401);
    for (const path of ["//evil.example/", "///evil.example/", "/\\evil.example/"]) {
      const answer = await ask(server.url, `${path}?caisson_token=${token}`, { host: hostOf(8000), headers: { accept: "text/html" } });
      const to = new URL(String(answer.headers.location), `http://${hostOf(8000)}/`);
      expect([path, to.host]).toEqual([path, hostOf(8000)]);
    }
  });
});
