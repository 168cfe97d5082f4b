import { createServer } from "node:net";
import { expect, it, vi } from "vitest";
import { Caisson, type CaissonOptions } from "./caisson.ts";
import { Sandbox } from "./sandbox.ts";
import { HttpPeer, sandboxJson, sendJson, type Answer } from "./testing/http-peer.ts";

const ID = "sb1hfqv8k3m00a1b2c3d4e5";
const KEY = "key-of-the-control-plane";

interface Seen {
  readonly headers: Record<string, unknown>[];
}

/** What each side answers to what is done inside the sandbox; by default who answered. */
interface Sides {
  readonly control?: Answer;
  readonly worker?: Answer;
  /** Address of the worker as the control plane tells it. */
  readonly url?: string | null;
  readonly client?: CaissonOptions;
}

const LIVE = { status: "alive", version: "0" };
const stats =
  (who: string): Answer =>
  (_request, response) =>
    sendJson(response, 200, { who });

async function setUp({ control = stats("control"), worker = stats("worker"), url, client }: Sides = {}) {
  await using opening = new AsyncDisposableStack();
  const seen: Seen = { headers: [] };
  const workerPeer = opening.use(
    await HttpPeer.listen((request, response, body) => {
      seen.headers.push(request.headers);
      if (request.url === "/api/v1/live") return sendJson(response, 200, LIVE, { connection: "close" });
      return worker(request, response, body);
    }),
  );
  let given = 0;
  const told = url === undefined ? workerPeer.url : url;
  const controlPeer = opening.use(
    await HttpPeer.listen((request, response, body) => {
      if (request.url === `/api/v1/sandboxes/${ID}`) return sendJson(response, 200, { ...sandboxJson(ID), worker_id: "worker-a" });
      if (request.url === `/api/v1/sandboxes/${ID}/access`)
        return sendJson(response, 201, { url: told, token: `token-${++given}`, expires_at: new Date().toISOString(), scopes: [] });
      return control(request, response, body);
    }),
  );
  const caisson = new Caisson({ url: controlPeer.url, apiKey: KEY, adminApiKey: KEY, ...client });
  const sandbox = await Sandbox.connect(ID, { client: caisson });
  const opened = opening.move();
  return {
    sandbox,
    caisson,
    seen,
    who: async () => ((await sandbox.stats()) as unknown as { who: string }).who,
    /** What each side was asked, but for probes and access. */
    asked: (peer: "worker" | "control") =>
      (peer === "worker" ? workerPeer : controlPeer).requests.filter((one) => !/\/(live|access)$/.test(one) && !one.endsWith(ID)),
    accesses: () => controlPeer.requests.filter((one) => one.endsWith("/access")).length,
    breakWorker: () => workerPeer[Symbol.asyncDispose](),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

it("does its work at the worker, with a token and never a key", async () => {
  await using test = await setUp();
  for (let i = 0; i < 3; i++) expect(await test.who()).toBe("worker");
  await test.sandbox.files.write("/a", "b");
  expect(test.asked("worker").map((one) => one.split("?")[0])).toEqual([
    ...Array<string>(3).fill(`GET /api/v1/sandboxes/${ID}/stats`),
    `PUT /api/v1/sandboxes/${ID}/files`,
  ]);
  expect(test.asked("control")).toEqual([]);
  expect(test.accesses()).toBe(1);
  expect(JSON.stringify(test.seen.headers)).not.toContain(KEY);
  expect(test.seen.headers.at(-1)?.["authorization"]).toBe("Bearer token-1");
  // The probe shows nothing at all.
  expect(test.seen.headers[0]?.["authorization"]).toBeUndefined();
});

it("asks the control plane for all that is its own", async () => {
  await using test = await setUp();
  await test.sandbox.extend("5m");
  await test.sandbox.ports.list().catch(() => undefined);
  await test.sandbox.files.sign("/a", "read").catch(() => undefined);
  expect(test.asked("worker")).toEqual([]);
  expect(test.asked("control")).toHaveLength(3);
});

it.each([
  ["is switched off", { client: { direct: false } }, 0],
  ["has a token of its own", { client: { apiKey: undefined, adminApiKey: undefined, token: "mine" } }, 0],
  ["is told that there is no way", { url: null }, 1],
])("goes through the control plane when it %s", async (_name, sides, accesses) => {
  await using test = await setUp(sides as Sides);
  for (let i = 0; i < 3; i++) expect(await test.who()).toBe("control");
  expect(test.accesses()).toBe(accesses);
});

it("follows no worker that sends it elsewhere", async () => {
  await using elsewhere = await HttpPeer.listen((_request, response) => sendJson(response, 200, { who: "elsewhere", ...LIVE }));
  const away: Answer = (request, response) => {
    response.writeHead(307, { location: `${elsewhere.url}${request.url ?? ""}` }).end();
  };
  await using worker = await setUp({ worker: away });
  expect(await worker.who()).toBe("control");
  await using prober = await HttpPeer.listen(away);
  await using probed = await setUp({ url: prober.url });
  expect(await probed.who()).toBe("control");
  expect(prober.requests).toHaveLength(1);
  expect(elsewhere.requests).toEqual([]);
});

it("remembers for all sandboxes of a worker that it cannot be reached", async () => {
  const closed = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => closed.once("listening", resolve));
  const { port } = closed.address() as { port: number };
  await new Promise((resolve) => closed.close(resolve));
  await using test = await setUp({ url: `http://127.0.0.1:${port}` });
  expect(await test.who()).toBe("control");
  const second = await Sandbox.connect(ID, { client: test.caisson });
  await second.stats();
  expect(test.accesses()).toBe(1);
});

it("takes the other way when the worker goes, for what can be sent again and for what was never sent", async () => {
  await using test = await setUp();
  expect(await test.who()).toBe("worker");
  await test.breakWorker();
  expect(await test.who()).toBe("control");
  // A second client, whose first words to the worker that is gone are a command.
  const worker: Answer = (_request, response) => sendJson(response, 200, { who: "worker" }, { connection: "close" });
  await using again = await setUp({ worker });
  expect(await again.who()).toBe("worker");
  await again.breakWorker();
  await again.sandbox.commands.spawn("true");
  expect(again.asked("control")).toEqual([`POST /api/v1/sandboxes/${ID}/exec`]);
});

it("never sends a command twice that the worker may have begun", async () => {
  await using test = await setUp({
    worker: (request, response) => (request.method === "POST" ? void response.destroy() : sendJson(response, 200, { who: "worker" })),
  });
  expect(await test.who()).toBe("worker");
  await expect(test.sandbox.commands.spawn("rm -r data")).rejects.toMatchObject({ code: "server_unreachable" });
  expect(test.asked("worker").filter((one) => one.startsWith("POST"))).toHaveLength(1);
  expect(test.asked("control")).toEqual([]);
  // What comes next takes the other way.
  expect(await test.who()).toBe("control");
});

it("asks the control plane where the worker refused before it did anything, and gets a new token", async () => {
  let refuse = false;
  await using test = await setUp({
    worker: (_request, response) => {
      if (!refuse) return sendJson(response, 200, { who: "worker" });
      const headers = { "content-type": "application/problem+json" };
      return sendJson(response, 409, { code: "lease_lost", message: "gone", detail: { ask: "control_plane" } }, headers);
    },
  });
  expect(await test.who()).toBe("worker");
  refuse = true;
  await test.sandbox.commands.spawn("true");
  expect(test.asked("control")).toEqual([`POST /api/v1/sandboxes/${ID}/exec`]);
  refuse = false;
  expect(await test.who()).toBe("worker");
  expect(test.seen.headers.at(-1)?.["authorization"]).toBe("Bearer token-2");
});

it("passes on what the worker says of the work itself", async () => {
  const headers = { "content-type": "application/problem+json" };
  await using test = await setUp({
    worker: (_request, response) => sendJson(response, 404, { code: "file_not_found", message: "no such file" }, headers),
  });
  await expect(test.sandbox.files.read("/nothing")).rejects.toMatchObject({ code: "file_not_found" });
  expect(test.asked("control")).toEqual([]);
});

it("renews its token before that ends, beside the calls", async () => {
  await using test = await setUp();
  expect(await test.who()).toBe("worker");
  const start = performance.now();
  const now = vi.spyOn(performance, "now");
  try {
    now.mockImplementation(() => start + 220_000);
    expect(await test.who()).toBe("worker");
    await expect.poll(() => test.accesses()).toBe(2);
    const shown = async (): Promise<unknown> => {
      await test.who();
      return test.seen.headers.at(-1)?.["authorization"];
    };
    await expect.poll(shown).toBe("Bearer token-2");
    // One that is over is waited for.
    now.mockImplementation(() => start + 600_000);
    expect(await test.who()).toBe("worker");
    expect(test.seen.headers.at(-1)?.["authorization"]).toBe("Bearer token-3");
  } finally {
    now.mockRestore();
  }
});

it("goes on through the control plane where a stream from the worker broke off", async () => {
  const line = (record: object): string => `${JSON.stringify(record)}\n`;
  const start = line({ type: "start", process_id: 7, pid: 1, stdout_offset: 0, stderr_offset: 0 });
  const hello = line({ type: "output", stream: "stdout", data: "hello ", offset: 0 });
  const world = line({ type: "output", stream: "stdout", data: "world", offset: 6 });
  const exit = line({ type: "exit", exit_code: 0, signal: null, timed_out: false, duration_ms: 1, stdout_bytes: 11, stderr_bytes: 0 });
  await using test = await setUp({
    worker: (_request, response) => {
      response.writeHead(200, { "content-type": "application/x-ndjson" });
      response.write(start + hello, () => response.destroy());
    },
    control: (_request, response) => void response.writeHead(200, { "content-type": "application/x-ndjson" }).end(world + exit),
  });
  const { stdout } = await test.sandbox.commands.run("echo hello world");
  expect(stdout).toBe("hello world");
  expect(test.asked("worker")).toHaveLength(1);
  expect(test.asked("control")[0]).toContain(`GET /api/v1/sandboxes/${ID}/processes/7/output`);
});
