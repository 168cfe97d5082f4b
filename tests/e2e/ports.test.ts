import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { join } from "node:path";
import { Caisson, Sandbox } from "@caisson/sdk";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { newPage, openBrowser } from "../harness/browser.ts";
import { TestServer } from "../harness/server.ts";
import { PORT_PROGRAM } from "../sandbox-suite/ports.ts";

const CLI = new URL("../../packages/cli/bin/caisson.mjs", import.meta.url).pathname;

let server: TestServer;
let sandbox: Sandbox;

beforeAll(async () => {
  server = await TestServer.start();
  sandbox = await Sandbox.create({}, { client: new Caisson({ url: server.url, apiKey: server.apiKey }) });
  await sandbox.commands.spawn(["node", "-e", PORT_PROGRAM]);
  await vi.waitUntil(async () => (await sandbox.ports.list()).length === 3, { timeout: 120_000, interval: 100 });
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

describe("sandbox.ports", () => {
  it("connects from a page in Chromium with nothing but a token", async () => {
    const { outputFiles } = await build({
      stdin: { contents: 'export * from "@caisson/sdk";', resolveDir: join(CLI, "..") },
      bundle: true,
      format: "iife",
      globalName: "sdk",
      conditions: ["@caisson/source"],
      write: false,
    });
    const { token } = await sandbox.ports.token(7001);
    const browser = await openBrowser();
    try {
      const page = await newPage(browser, { bypassCSP: true });
      await page.goto(`${server.url}/live`);
      await page.addScriptTag({ content: outputFiles[0]?.text ?? "" });
      const echoed = await page.evaluate(`(async () => {
        const client = new sdk.Caisson({ url: ${JSON.stringify(server.url)}, token: ${JSON.stringify(token)} });
        const connection = await new sdk.Ports(client.http, ${JSON.stringify(sandbox.id)}).connect(7001);
        const writer = connection.writable.getWriter();
        await writer.write(new TextEncoder().encode("from a page"));
        await writer.close();
        let text = "";
        const reader = connection.readable.pipeThrough(new TextDecoderStream()).getReader();
        for (let next; !(next = await reader.read()).done;) text += next.value;
        return text;
      })()`);
      expect(echoed).toBe("from a page");
    } finally {
      await browser.close();
    }
  });
});

describe("the command line", () => {
  const start = (...args: string[]): ChildProcess =>
    spawn(process.execPath, [CLI, ...args], { env: server.cliEnv, stdio: ["ignore", "pipe", "pipe"] });
  const said = async (child: ChildProcess, stream: "stdout" | "stderr", text: string): Promise<string> => {
    let all = "";
    child[stream]?.on("data", (chunk: Buffer) => (all += chunk.toString()));
    await expect.poll(() => all).toContain(text);
    return all;
  };
  const run = async (...args: string[]): Promise<string> => {
    const child = start(...args);
    const chunks: Buffer[] = [];
    child.stdout?.on("data", (chunk: Buffer) => chunks.push(chunk));
    expect(await once(child, "close")).toEqual([0, null]);
    return Buffer.concat(chunks).toString();
  };
  const exchange = async (local: number, text: string): Promise<string> => {
    const socket = connect({ host: "127.0.0.1", port: local });
    socket.end(text);
    let answer = "";
    for await (const chunk of socket) answer += String(chunk);
    return answer;
  };

  it("lists ports and prints links", async () => {
    expect(await run("ports", sandbox.id)).toMatch(/PORT +ADDRESS .*\n7001 +127\.0\.0\.1 .*private +http:\/\/7001-/);
    expect(await run("url", sandbox.id, "7001", "--ttl", "2h")).toContain("/?caisson_token=");
    expect(await run("url", sandbox.id, "7001", "--public")).toBe(`${await sandbox.ports.url(7001)}\n`);
    expect(JSON.parse(await run("ports", sandbox.id, "--json"))).toMatchObject([{ public: true }, {}, {}]);
    await run("url", sandbox.id, "7001", "--private");
    expect((await sandbox.ports.list())[0]?.public).toBe(false);
  });

  it("forwards several ports, tells of connections, and outlives a restart of the server", async () => {
    const forward = start("forward", sandbox.id, "0:7001", "0:7003", "-v");
    try {
      const lines = await said(forward, "stdout", ":7003\n");
      const [echo = 0, count = 0] = [...lines.matchAll(/^127\.0\.0\.1:(\d+) -> /gm)].map((match) => Number(match[1]));
      const told = said(forward, "stderr", "closed, 5 bytes sent, 5 received");
      expect(await exchange(echo, "hello")).toBe("hello");
      expect(await exchange(count, "x".repeat(1_000_000))).toBe("1000000");
      expect(await told).toMatch(/#1 \d+ -> 7001: open\n/);
      await server.kill9();
      await server.up();
      expect(await exchange(echo, "again")).toBe("again");
      // It ends with the sandbox.
      sandbox = await Sandbox.connect(sandbox.id, { client: new Caisson({ url: server.url, apiKey: server.apiKey }) });
      await sandbox.destroy();
      const ended = once(forward, "close");
      const why = said(forward, "stderr", "The sandbox is destroyed.");
      // It may well be closed before a word was said.
      expect(await exchange(echo, "never").catch((error: NodeJS.ErrnoException) => error.code)).toMatch(/^(|ECONNRESET|EPIPE)$/);
      expect((await ended)[0]).toBe(3);
      await why;
      // Nor does it begin for one that has ended.
      expect((await once(start("forward", sandbox.id, "0:7001"), "close"))[0]).toBe(3);
    } finally {
      forward.kill("SIGKILL");
    }
  });
});
