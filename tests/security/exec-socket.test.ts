import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { EXEC_PROTOCOL, type ExecSign, type Process, type Sandbox } from "@caisson/contract";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { WebSocket } from "ws";
import { TestServer } from "../harness/server.ts";

/** Clients of each kind at once. */
const CLIENTS = 8;
/** Bytes that each of them tries to push in, or lets come. */
const FLOOD = 33_554_432;
/** What all of them together may cost the server, in bytes: less than the writers send, and most of it not yet collected. */
const MEMORY = (CLIENTS * FLOOD * 3) / 4;

let server: TestServer;
let sandbox: Sandbox;

beforeAll(async () => {
  server = await TestServer.start();
  sandbox = await server.json<Sandbox>("POST", "/sandboxes", {});
});

afterAll(async () => server[Symbol.asyncDispose]());

/** A client that has begun a process. */
async function begin(start: object): Promise<{ socket: WebSocket; processId: number }> {
  const url = `${server.url.replace("http", "ws")}/api/v1/sandboxes/${sandbox.id}/exec/ws`;
  const socket = new WebSocket(url, [EXEC_PROTOCOL], { headers: { "x-api-key": server.apiKey } });
  socket.on("error", () => undefined);
  await once(socket, "open");
  socket.send(JSON.stringify({ type: "start", ...start }));
  const [first] = (await once(socket, "message")) as [Buffer];
  const sign = JSON.parse(first.toString()) as ExecSign;
  if (sign.type !== "started") throw new Error(JSON.stringify(sign));
  return { socket, processId: sign.process_id };
}

async function memory(): Promise<number> {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(await readFile(`/proc/${server.pid}/status`, "utf8"))?.[1]) * 1024;
}

async function process(id: number): Promise<Process> {
  return server.json<Process>("GET", `/sandboxes/${sandbox.id}/processes/${id}`);
}

it("readers that stop, input that nobody takes, and floods of questions cost little and harm nobody", { timeout: 240_000 }, async () => {
  // One of each first, so that what is loaded at first use is loaded.
  const warm = await begin({ command: "echo warm" });
  await once(warm.socket, "close");
  const before = await memory();

  const readers = await Promise.all(Array.from({ length: CLIENTS }, () => begin({ command: "yes", output_limit: 65_536 })));
  for (const { socket } of readers) socket.pause();
  const writers = await Promise.all(Array.from({ length: CLIENTS }, () => begin({ command: "exec sleep 600" })));
  for (const { socket } of writers) for (let sent = 0; sent < FLOOD; sent += 65_536) socket.send(Buffer.alloc(65_536));
  const askers = await Promise.all(
    Array.from({ length: CLIENTS }, () => begin({ command: "exec sleep 600", pty: { cols: 80, rows: 24 } })),
  );
  for (const { socket } of askers) {
    socket.pause();
    for (let i = 0; i < 10_000; i += 1) {
      socket.send(`{"type":"ping"}`);
      socket.send(`{"type":"resize","cols":${80 + (i % 20)},"rows":24}`);
    }
  }

  // The writer waits for a reader that takes nothing.
  let last = -1;
  await vi.waitFor(
    async () => {
      const { stdout } = await process(readers[0]?.processId ?? 0);
      const stands = stdout.end === last;
      last = stdout.end;
      if (!stands) throw new Error("still writing");
    },
    { timeout: 60_000, interval: 500 },
  );
  expect(last).toBeLessThan(FLOOD);
  // Others are served meanwhile.
  const answer = await server.json<{ stdout: string }>("POST", `/sandboxes/${sandbox.id}/exec`, { command: "echo fine" });
  expect(answer.stdout).toBe("fine\n");
  expect((await memory()) - before).toBeLessThan(MEMORY);
  // What was not taken is still with those who sent it.
  expect(Math.min(...writers.map(({ socket }) => socket.bufferedAmount))).toBeGreaterThan(FLOOD / 2);

  // A reader that goes on finds every byte in its place.
  const [reader] = readers;
  if (reader === undefined) throw new Error("no reader");
  let at = 0;
  let wrong = 0;
  reader.socket.on("message", (data: Buffer, binary) => {
    if (!binary) return;
    const bytes = data.subarray(1);
    for (let i = 0; i < bytes.length; i += 1) if (bytes[i] !== ((at + i) % 2 === 0 ? 0x79 : 0x0a)) wrong += 1;
    at += bytes.length;
  });
  reader.socket.resume();
  await vi.waitFor(() => expect(at).toBeGreaterThan(last + 1_000_000), { timeout: 60_000 });
  expect(wrong).toBe(0);

  for (const { socket } of [...readers, ...writers, ...askers]) socket.terminate();
  // None of the processes ended with its client.
  expect((await process(writers[0]?.processId ?? 0)).running).toBe(true);
  expect((await server.json<{ stdout: string }>("POST", `/sandboxes/${sandbox.id}/exec`, { command: "echo on" })).stdout).toBe("on\n");
});
