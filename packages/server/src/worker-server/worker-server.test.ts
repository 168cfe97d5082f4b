import { once } from "node:events";
import { SignedGrants, signControlToken, SigningKeySet } from "@caisson/identity";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { API_KEY, testSigningKey } from "../testing/test-server.ts";
import { startTestWorker, type TestWorker } from "../testing/worker-server.ts";

let worker: TestWorker;
let other: TestWorker;
let id: string;

beforeAll(async () => {
  [worker, other] = await Promise.all([startTestWorker("worker-a"), startTestWorker("worker-b")]);
});
beforeEach(async () => {
  worker.access = "private";
  worker.told.length = 0;
  worker.now = Date.now;
  id = await worker.start();
});
afterAll(async () => {
  await Promise.all([worker[Symbol.asyncDispose](), other[Symbol.asyncDispose]()]);
});

interface Refusal {
  readonly code: string;
  readonly detail?: { readonly ask?: string; readonly reason?: string };
}

async function refusal(response: Promise<Response>): Promise<[number, string, string | undefined]> {
  const { status } = await response;
  const { code, detail } = (await (await response).json()) as Refusal;
  // Nothing was done, and a client may ask a control plane instead: every refusal says so.
  expect(detail?.ask).toBe("control_plane");
  return [status, code, detail?.reason];
}

const exec = (token: string | undefined, sandbox = id, on = worker) =>
  on.call("POST", `/sandboxes/${sandbox}/exec`, token, { command: "echo hello" });

/** What control planes were told of a sandbox. */
const toldOf = (sandboxId: string) => worker.told.filter((one) => one.sandbox_id === sandboxId);

describe("work on a worker itself", () => {
  it("is done as through a control plane", async () => {
    const token = await worker.token(id);
    const base = `/sandboxes/${id}`;
    expect(await (await exec(token)).json()).toMatchObject({ exit_code: 0, stdout: "hello\n" });
    const stream = await worker.call("POST", `${base}/exec`, token, { command: "echo hello", stream: true });
    expect(await stream.text()).toContain('"type":"exit"');
    expect((await worker.call("POST", `${base}/files`, token, { path: "/tmp/a", content: "text" })).status).toBe(200);
    expect(await (await worker.call("GET", `${base}/files?path=/tmp/a`, token)).text()).toBe("text");
    expect((await worker.call("GET", `${base}/processes`, token)).status).toBe(200);
    expect((await worker.call("GET", `${base}/logs`, token)).status).toBe(200);
    expect(await (await worker.call("GET", `${base}/stats`, token)).json()).toMatchObject({ memory: { limit_bytes: null } });
  });

  it("is told to a control plane, with the key that the token was made with", async () => {
    const token = await worker.token(id, { keyName: "ci" });
    await Promise.all([exec(token), worker.call("POST", `/sandboxes/${id}/exec`, token, { command: "sleep 60", background: true })]);
    await expect.poll(() => toldOf(id).flatMap((one) => one.processes ?? [])).toHaveLength(2);
    expect(toldOf(id)[0]).toMatchObject({ epoch: 1, key_name: "ci" });
    expect(
      toldOf(id)
        .flatMap((one) => one.processes ?? [])
        .map((one) => one.kind),
    ).toEqual(expect.arrayContaining(["exec", "background"]));
  });

  it("is told later when no control plane can be reached", async () => {
    worker.access = undefined;
    const token = await worker.token(id);
    for (let i = 0; i < 3; i++) expect((await exec(token)).status).toBe(200);
    expect(toldOf(id)).toEqual([]);
    worker.access = "private";
    await expect.poll(() => toldOf(id).flatMap((one) => one.processes ?? [])).toHaveLength(3);
  });

  it("works over WebSocket, by a token in the address", async () => {
    const socket = new WebSocket(
      `${worker.url.replace("http", "ws")}/api/v1/sandboxes/${id}/exec/ws?token=${await worker.token(id)}`,
      "caisson.exec.v1",
    );
    await once(socket, "open");
    socket.send(JSON.stringify({ type: "start", command: "echo hello" }));
    const texts: string[] = [];
    socket.on("message", (data: Buffer, binary) => void texts.push(binary ? "" : data.toString()));
    const [code] = (await once(socket, "close")) as [number];
    expect(code).toBe(1000);
    expect(texts.join("")).toContain('"exit_code":0');
  });
});

describe("a worker refuses", () => {
  it("who shows nothing, or what is no token of it", async () => {
    expect(await refusal(exec(undefined))).toEqual([401, "unauthorized", "missing"]);
    expect(await refusal(exec(API_KEY))).toEqual([401, "unauthorized", "malformed"]);
    const both = { authorization: `Bearer ${await worker.token(id)}`, "x-api-key": API_KEY };
    expect(await refusal(fetch(`${worker.url}/api/v1/sandboxes/${id}/processes`, { headers: both }))).toEqual([
      401,
      "unauthorized",
      "missing",
    ]);
  });

  it("a token of another sandbox, of another worker, and one that is over", async () => {
    const second = await worker.start();
    expect(await refusal(exec(await worker.token(second)))).toEqual([401, "unauthorized", "wrong_worker"]);
    expect(await refusal(exec(await worker.token(id), id, other))).toEqual([401, "unauthorized", "wrong_audience"]);
    expect(await refusal(exec(await other.token(id)))).toEqual([401, "unauthorized", "wrong_audience"]);
    const token = await worker.token(id);
    // By the time of the control planes: the worker's own clock does not matter.
    worker.now = () => Date.now() + 61_000;
    expect(await refusal(exec(token))).toEqual([401, "unauthorized", "expired"]);
  });

  it("a right that the sandbox has outlived, or that outlived the sandbox", async () => {
    const token = await worker.token(id);
    expect(await refusal(exec(await worker.token(id, { epoch: 2 })))).toEqual([409, "lease_lost", undefined]);
    expect((await exec(token)).status).toBe(200);
    await worker.host.destroy({ sandboxId: id, epoch: 1 });
    expect(await refusal(exec(token))).toEqual([409, "lease_lost", undefined]);
    await worker.host.start({ sandboxId: id, epoch: 2, provider: "mock", image: "host", resources: {}, env: {}, network: "none" });
    expect(await refusal(exec(token))).toEqual([409, "lease_lost", undefined]);
    expect((await exec(await worker.token(id, { epoch: 2 }))).status).toBe(200);
  });

  it("what the token does not let do", async () => {
    const files = await worker.token(id, { scopes: ["worker:files"] });
    expect(await refusal(exec(files))).toEqual([403, "forbidden", "scope"]);
    expect((await worker.call("GET", `/sandboxes/${id}/files/list?path=/`, files)).status).toBe(200);
    const others = await worker.token(id, { scopes: ["worker:exec"] });
    for (const path of ["files?path=/etc/passwd", "logs", "stats", "uploads"])
      expect(await refusal(worker.call("GET", `/sandboxes/${id}/${path}`, others))).toEqual([403, "forbidden", "scope"]);
  });

  it("tokens that were made for something else, or signed otherwise", async () => {
    const key = await testSigningKey();
    const grants = new SignedGrants(key);
    const expiresAt = Date.now() + 60_000;
    const grant = await grants.sign({ action: "port", sandboxId: id, port: 80, expiresAt });
    expect(await refusal(exec(grant))).toEqual([401, "unauthorized", "wrong_type"]);
    const socket = (token: string) => fetch(`${worker.url}/api/v1/sandboxes/${id}/exec/ws?token=${token}`);
    expect(await refusal(socket(grant))).toEqual([401, "unauthorized", "wrong_type"]);
    expect(await refusal(socket(await grants.sign({ action: "exec", sandboxId: id, expiresAt })))).toEqual([
      401,
      "unauthorized",
      "wrong_type",
    ]);
    const read = await grants.sign({ action: "file.read", sandboxId: id, path: "/etc/passwd", expiresAt });
    expect(await refusal(fetch(`${worker.url}/api/v1/sandboxes/${id}/files?path=/etc/passwd&token=${read}`))).toEqual([
      401,
      "unauthorized",
      "wrong_type",
    ]);
    // What a control plane shows when it dials: all rights on this worker, over its link and nowhere else.
    const control = await signControlToken(key, { issuer: "i", workerId: worker.workerId, nonce: "n", now: Date.now() });
    expect(await refusal(exec(control))).toEqual([401, "unauthorized", "wrong_type"]);
    const [head, body, mark] = (await worker.token(id)).split(".") as [string, string, string];
    for (const alg of ["none", "HS256", "ES256"]) {
      const header = { ...(JSON.parse(Buffer.from(head, "base64url").toString()) as object), alg };
      const confused = [Buffer.from(JSON.stringify(header)).toString("base64url"), body, mark].join(".");
      expect(await refusal(exec(confused))).toEqual([401, "unauthorized", "wrong_algorithm"]);
    }
  });

  it("everybody while it knows no key", async () => {
    await using fresh = await startTestWorker("worker-c", { publicKeys: () => new SigningKeySet({ keys: [] }) });
    const sandbox = await fresh.start();
    expect(await refusal(exec(await fresh.token(sandbox), sandbox, fresh))).toEqual([401, "unauthorized", "unknown_key"]);
  });
});

describe("what is not done inside a sandbox", () => {
  it.each([
    ["GET", "/sandboxes"],
    ["POST", "/sandboxes"],
    ["GET", "/sandboxes/ID"],
    ["DELETE", "/sandboxes/ID"],
    ["POST", "/sandboxes/ID/extend"],
    ["POST", "/sandboxes/ID/tokens"],
    ["POST", "/sandboxes/ID/access"],
    ["POST", "/sandboxes/ID/files/sign"],
    ["GET", "/sandboxes/ID/exec-log"],
    ["GET", "/sandboxes/ID/ports"],
    ["PUT", "/sandboxes/ID/ports/80"],
    ["GET", "/workers"],
    ["DELETE", "/admin/workers/local"],
    ["GET", "/images"],
    ["POST", "/images/import"],
    ["GET", "/webhooks"],
    ["GET", "/events"],
    ["GET", "/health"],
    ["GET", "/link"],
  ])("%s %s is a control plane's", async (method, path) => {
    const response = worker.call(method, path.replace("ID", id), await worker.token(id), method === "POST" ? {} : undefined);
    expect(await refusal(response)).toEqual([404, "not_on_worker", undefined]);
  });

  it("is never served by a route that is there, whatever is added to them", async () => {
    const { scopeOf } = await import("./route-scopes.ts");
    for (const path of [
      "/sandboxes",
      "/sandboxes/:id",
      "/sandboxes/:id/files/sign",
      "/sandboxes/:id/exec-log",
      "/workers",
      "/images/:name",
    ])
      expect(scopeOf(path)).toBeUndefined();
  });

  it("but whether it answers, anybody may ask", async () => {
    for (const path of ["/live", "/api/v1/live"]) expect((await fetch(worker.url + path)).status).toBe(200);
  });

  it("and who knows its id may ask whether it is the one; nobody else learns it", async () => {
    const live = async (query: string): Promise<unknown> => (await fetch(`${worker.url}/api/v1/live${query}`)).json();
    expect(await live("?worker_id=worker-a")).toEqual({ status: "alive", version: "0.1.0", worker_id: "worker-a" });
    for (const query of ["", "?worker_id=worker-b", "?worker_id="])
      expect(await live(query)).toEqual({ status: "alive", version: "0.1.0" });
    expect(await live("?other=1")).toMatchObject({ code: "invalid_request" });
  });
});

it("lets browsers in from listed origins only, as a control plane does", async () => {
  await using open = await startTestWorker("worker-d", { corsAllowedOrigins: ["https://app.example.org"] });
  const sandbox = await open.start();
  const preflight = (origin: string) =>
    fetch(`${open.url}/api/v1/sandboxes/${sandbox}/exec`, {
      method: "OPTIONS",
      headers: { origin, "access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type" },
    });
  const good = await preflight("https://app.example.org");
  expect([good.status, good.headers.get("access-control-allow-origin")]).toEqual([204, "https://app.example.org"]);
  expect(good.headers.get("access-control-allow-headers")).toContain("Authorization");
  expect((await preflight("https://evil.example.org")).status).toBe(403);
});
