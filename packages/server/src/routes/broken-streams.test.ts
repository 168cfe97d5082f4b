import { once } from "node:events";
import { mkdir, readdir, truncate, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { WebSocket } from "ws";
import { hasAgent, startAgentServer, type AgentServer } from "../testing/agent-guest.ts";
import { ExecPeer } from "../testing/exec-peer.ts";
import { API_KEY, type CallOptions } from "../testing/test-server.ts";

/** How often each kind of stream is opened and broken. */
const TIMES = 50;
/** At once. */
const TOGETHER = 5;
/** Descriptors that may come and go beside those of the streams: both ends of connections that are kept, most of all. */
const SLACK = 30;
const MIB = 1_048_576;

const descriptors = async (pid: number | "self"): Promise<number> => (await readdir(`/proc/${pid}/fd`)).length;

/** Opens something and breaks it, again and again. */
async function again(breakOne: () => Promise<void>): Promise<void> {
  for (let done = 0; done < TIMES; done += TOGETHER) await Promise.all(Array.from({ length: TOGETHER }, breakOne));
}

describe.skipIf(!hasAgent)("streams that clients break", () => {
  let agent: AgentServer;
  let id: string;
  /** A TCP server that never stops talking. */
  const flood = createServer((socket: Socket) => {
    socket.on("error", () => undefined);
    const more = (): void => {
      while (!socket.destroyed && socket.write(Buffer.alloc(65_536, "x")));
    };
    socket.on("drain", more);
    socket.once("data", () => {
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      more();
    });
  });
  let port: number;
  let before: { readonly channels: number; readonly ours: number; readonly agents: number };

  const count = async (): Promise<typeof before> => ({
    channels: await agent.openChannels(),
    ours: await descriptors("self"),
    agents: await descriptors(agent.agentPid),
  });

  /** Begins to read an answer and goes away. */
  const leave = async (method: string, path: string, options: CallOptions = {}, url?: string): Promise<void> => {
    const gone = new AbortController();
    const { signal } = gone;
    const response =
      url === undefined
        ? await agent.server.call(method, path, { ...options, signal })
        : await fetch(url, { method, headers: { "x-api-key": API_KEY }, signal });
    expect(response.status).toBe(200);
    await response.body?.getReader().read();
    gone.abort();
  };

  /** Begins to send a body and goes away. */
  const abandon = async (method: string, path: string, headers: Record<string, string>, beginning: string): Promise<void> => {
    const gone = new AbortController();
    const sent = Promise.withResolvers<void>();
    const body = new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        controller.enqueue(Buffer.from(beginning));
        controller.enqueue(Buffer.alloc(MIB));
        sent.resolve();
        await new Promise((resolve) => gone.signal.addEventListener("abort", resolve));
      },
    });
    const answered = agent.server.call(method, path, { headers, body, signal: gone.signal });
    answered.catch(() => undefined);
    await sent.promise;
    await expect.poll(() => agent.server.operations.running).toBeGreaterThan(0);
    gone.abort();
    await expect(answered).rejects.toThrow("aborted");
  };

  beforeAll(async () => {
    agent = await startAgentServer();
    id = agent.sandbox.split("/").at(-1) ?? "";
    flood.listen(0, "127.0.0.1");
    await once(flood, "listening");
    port = (flood.address() as AddressInfo).port;
    await mkdir(join(agent.folder, "tree"));
    await writeFile(join(agent.folder, "tree", "lines"), "a needle in a long line\n".repeat(400_000));
    await writeFile(join(agent.folder, "tree", "large"), "");
    await truncate(join(agent.folder, "tree", "large"), 64 * MIB);
    await agent.server.call("GET", `${agent.sandbox}/stats`);
    await vi.waitUntil(async () => (await agent.openChannels()) === 0, { timeout: 20_000 });
    before = await count();
  });
  afterAll(async () => {
    flood.close();
    await agent[Symbol.asyncDispose]();
  });

  const path = (rest: string): string => `${agent.sandbox}${rest}`;
  const encoded = (name: string): string => encodeURIComponent(join(agent.folder, name));

  /** What is left of all that was opened. */
  const leftOver = async (): Promise<string[]> => {
    const now = await count();
    return [
      `${agent.server.operations.running} operations`,
      `${now.channels - before.channels} channels`,
      `${now.agents - before.agents < SLACK ? 0 : now.agents - before.agents} descriptors of the agent`,
      `${now.ours - before.ours < SLACK ? 0 : now.ours - before.ours} descriptors of this process`,
    ].filter((line) => !line.startsWith("0 "));
  };

  it.each([
    ["a download", () => leave("GET", path(`/files?path=${encoded("tree/large")}`))],
    ["a tree on its way out", () => leave("GET", path(`/files/archive?path=${encoded("tree")}`))],
    [
      "a search",
      () => leave("POST", path("/files/search"), { json: { path: join(agent.folder, "tree"), pattern: "needle", limit: 100_000 } }),
    ],
    ["figures", () => leave("GET", path("/stats/stream?interval=200ms"))],
    ["a preview", () => leave("GET", "", {}, `${agent.server.url}/preview/${id}/${port}/`)],
    ["an upload", () => abandon("PUT", path(`/files?path=${encoded("up")}`), { "content-type": "application/octet-stream" }, "")],
    [
      "a tree on its way in",
      () => abandon("PUT", path(`/files/archive?path=${encoded("in")}`), { "content-type": "application/x-tar" }, ""),
    ],
    [
      "a form",
      () =>
        abandon(
          "POST",
          path("/files/upload"),
          { "content-type": "multipart/form-data; boundary=x" },
          `--x\r\nContent-Disposition: form-data; name="${agent.folder}/f"; filename="f"\r\n\r\n`,
        ),
    ],
  ])("leaves nothing of %s", async (_what, breakOne) => {
    await again(breakOne);
    await expect.poll(leftOver).toEqual([]);
  });

  it("leaves nothing of a connection to a port", async () => {
    await again(async () => {
      const socket = new WebSocket(`${agent.server.url.replace("http", "ws")}/api/v1${path(`/ports/${port}/connect`)}`, "caisson.tcp.v1", {
        headers: { "x-api-key": API_KEY },
      });
      await once(socket, "message");
      socket.send(Buffer.from("GET / HTTP/1.1\r\n\r\n"));
      await once(socket, "message");
      socket.terminate();
    });
    await expect.poll(leftOver).toEqual([]);
  });

  it("leaves nothing of those who follow a process, and leaves the process", async () => {
    const spawned = await agent.server.call("POST", path("/exec"), { json: { command: "yes", background: true } });
    const { process_id: processId } = (await spawned.json()) as { process_id: number };
    await again(() => leave("GET", path(`/processes/${processId}/output?follow=true`)));
    await again(async () => {
      using peer = await new ExecPeer(agent.server.url, id).opened();
      peer.tell({ type: "attach", process_id: processId });
      await peer.sign("started");
      peer.socket.terminate();
    });
    const process = (await (await agent.server.call("GET", path(`/processes/${processId}`))).json()) as { running: boolean };
    expect(process.running).toBe(true);
    await agent.server.call("POST", path(`/processes/${processId}/signal`), { json: { signal: "KILL" } });
    await expect.poll(leftOver).toEqual([]);
  });

  it("leaves nothing of those who come back to a watch but the watch", async () => {
    const opened = new AbortController();
    const query = `/files/watch?path=${encoded("tree")}`;
    const first = await agent.server.call("GET", path(query), { signal: opened.signal });
    const reader = first.body?.getReader();
    let text = "";
    while (!/^id: (\S+)/m.test(text)) text += Buffer.from((await reader?.read())?.value ?? []).toString();
    const place = /^id: (\S+)/m.exec(text)?.[1] ?? "";
    opened.abort();
    await again(() => leave("GET", path(`${query}&after=${place}`)));
    expect((await agent.server.call("DELETE", path(`/files/watch/${place.split("-")[0]}`))).status).toBe(204);
    await expect.poll(leftOver).toEqual([]);
  });

  it("leaves nothing of code whose caller went away, once it has ended", async () => {
    for (let done = 0; done < 10; done += 1)
      await leave("POST", path("/code"), { json: { language: "shell", code: "echo begun; sleep 0.05", stream: true } });
    await expect.poll(() => agent.server.operations.running).toBe(0);
    const list = (await (await agent.server.call("GET", path("/code/contexts"))).json()) as { items: { context_id: number }[] };
    for (const { context_id } of list.items) await agent.server.call("DELETE", path(`/code/contexts/${context_id}`));
    await expect.poll(leftOver).toEqual([]);
  });
});
