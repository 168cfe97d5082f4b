import {
  execRecordSchema,
  execResultSchema,
  fileListSchema,
  processSchema,
  sandboxSchema,
  writtenFileSchema,
  type Sandbox,
} from "@caisson/contract";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startRealServer, type RealServer } from "./testing/real-server.ts";
import { API_KEY } from "./testing/test-server.ts";

let server: RealServer;
let sandbox: Sandbox;
beforeAll(async () => {
  server = await startRealServer();
  const made = await server.call("POST", "/sandboxes", { metadata: { of: "integration" } });
  sandbox = sandboxSchema.parse(await made.json());
});
afterAll(() => server[Symbol.asyncDispose]());

const at = (path: string) => `/sandboxes/${sandbox.id}${path}`;
const json = async (response: Response | Promise<Response>): Promise<unknown> => (await response).json();

describe("the server over the orchestrator, the store, the worker and the mock provider", () => {
  it("has made a sandbox that runs, and is ready", async () => {
    expect(sandbox).toMatchObject({ state: "running", provider: "mock", worker_id: "local", network: "none" });
    expect((await fetch(`${server.url}/ready`)).status).toBe(200);
    expect(await json(server.call("GET", "/providers"))).toMatchObject({ items: [{ name: "mock", available: true }] });
    expect(await json(server.call("GET", "/sandboxes?metadata=of%3Dintegration"))).toMatchObject({ items: [{ id: sandbox.id }] });
  });

  it("runs commands, answered as JSON and as a stream", async () => {
    const result = execResultSchema.parse(await json(server.call("POST", at("/exec"), { command: "echo hello; exit 3" })));
    expect(result).toMatchObject({ exit_code: 3, stdout: "hello\n", stdout_truncated: false });
    const text = await (await server.call("POST", at("/exec"), { command: "echo out; echo err >&2", stream: true })).text();
    const records = text
      .trimEnd()
      .split("\n")
      .map((line) => execRecordSchema.parse(JSON.parse(line)));
    expect(records.map((record) => record.type)).toEqual(["start", "output", "output", "exit"]);
  });

  it("feeds input, kills at the timeout, and keeps background processes", async () => {
    expect(await json(server.call("POST", at("/exec"), { command: "cat", stdin: "in" }))).toMatchObject({ stdout: "in" });
    expect(await json(server.call("POST", at("/exec"), { command: "sleep 60", timeout: "100ms" }))).toMatchObject({
      status: 408,
      code: "exec_timeout",
    });
    const started = processSchema.parse(
      await json(server.call("POST", at("/exec"), { command: "cat", background: true, stdin_open: true })),
    );
    const path = at(`/processes/${started.process_id}`);
    const fed = await fetch(`${server.url}/api/v1${path}/stdin?close=true`, {
      method: "POST",
      body: "late",
      headers: { "x-api-key": API_KEY },
    });
    expect(await fed.json()).toEqual({ written: 4 });
    const last = (await (await server.call("GET", `${path}/output`)).text()).trimEnd().split("\n").at(-1) ?? "";
    expect(JSON.parse(last)).toMatchObject({ type: "exit", exit_code: 0, stdout_bytes: 4 });
  });

  it("writes, reads, lists and removes files", async () => {
    const bytes = crypto.getRandomValues(new Uint8Array(65_536));
    const up = await fetch(`${server.url}/api/v1${at("/files?path=/tmp/a/b.bin&mode=0640")}`, {
      method: "PUT",
      body: bytes,
      headers: { "x-api-key": API_KEY },
    });
    expect(writtenFileSchema.parse(await up.json())).toMatchObject({ size: bytes.length, mode: "0640" });
    const down = await server.call("GET", at("/files?path=/tmp/a/b.bin"));
    expect(Buffer.from(await down.arrayBuffer()).equals(bytes)).toBe(true);
    expect(fileListSchema.parse(await json(server.call("GET", at("/files/list?path=/tmp/a")))).items.map((item) => item.path)).toEqual([
      "/tmp/a/b.bin",
    ]);
    expect(fileListSchema.parse(await json(server.call("GET", at("/files/glob?pattern=**/*.bin&cwd=/tmp")))).items).toHaveLength(1);
    expect((await server.call("DELETE", at("/files?path=/tmp/a&recursive=true"))).status).toBe(204);
    expect(await json(server.call("GET", at("/files/stat?path=/tmp/a")))).toMatchObject({ status: 404, code: "file_not_found" });
  });

  it("refuses by code what cannot be", async () => {
    expect(await json(server.call("POST", "/sandboxes", { network: "internet" }))).toMatchObject({ status: 422, code: "unsupported" });
    expect(await json(server.call("POST", "/sandboxes", { memory_mb: 512 }))).toMatchObject({ status: 422, code: "unsupported" });
    expect(await json(server.call("POST", "/sandboxes", { provider: "none" }))).toMatchObject({ status: 404, code: "provider_not_found" });
    expect(await json(server.call("GET", "/sandboxes?cursor=nonsense"))).toMatchObject({ status: 400, code: "invalid_request" });
    expect(await json(server.call("GET", "/sandboxes?state=happy"))).toMatchObject({ status: 400, code: "invalid_request" });
  });

  it("tells events, figures and the console, and ends the sandbox twice", async () => {
    expect(await json(server.call("GET", "/events?limit=2&type=sandbox.*"))).toMatchObject({ items: [{ sandbox_id: sandbox.id }, {}] });
    expect((await server.call("GET", at("/stats"))).status).toBe(200);
    expect((await server.call("GET", at("/logs"))).status).toBe(200);
    for (let round = 0; round < 2; round += 1)
      expect(await json(server.call("DELETE", at("")))).toMatchObject({ id: sandbox.id, state: "destroyed" });
    expect(await json(server.call("POST", at("/exec"), { command: "true", stream: true }))).toMatchObject({
      status: 410,
      code: "sandbox_destroyed",
    });
  });
});
