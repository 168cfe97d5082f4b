import { sandboxPageSchema, sandboxSchema } from "@caisson/contract";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { problemSchema } from "../http/problem-schema.ts";
import { ADMIN_KEY, API_KEY, startTestServer, type TestServer } from "../testing/test-server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server[Symbol.asyncDispose]());

const problem = async (response: Response) => {
  expect(response.headers.get("content-type")).toBe("application/problem+json; charset=utf-8");
  const body = problemSchema.parse(await response.json());
  expect(body.status).toBe(response.status);
  return body;
};
const create = async (json: object = {}) => sandboxSchema.parse(await (await server.call("POST", "/sandboxes", { json })).json());

describe("sandboxes", () => {
  it("are created, shown, listed, extended and destroyed, twice", async () => {
    const made = await server.call("POST", "/sandboxes", { json: { image: "host", metadata: { team: "a" } } });
    expect(made.status).toBe(201);
    const sandbox = sandboxSchema.parse(await made.json());
    expect(made.headers.get("location")).toBe(`/api/v1/sandboxes/${sandbox.id}`);
    expect(sandboxSchema.parse(await (await server.call("GET", `/sandboxes/${sandbox.id}`)).json())).toEqual(sandbox);
    const page = sandboxPageSchema.parse(await (await server.call("GET", "/sandboxes?metadata=team%3Da")).json());
    expect(page.items.map((item) => item.id)).toEqual([sandbox.id]);
    const extended = await server.call("POST", `/sandboxes/${sandbox.id}/extend`, { json: { ttl: "2h" } });
    expect(Date.parse(sandboxSchema.parse(await extended.json()).expires_at)).toBeGreaterThan(Date.parse(sandbox.expires_at));
    for (let round = 0; round < 2; round += 1) {
      const gone = await server.call("DELETE", `/sandboxes/${sandbox.id}`);
      expect(gone.status).toBe(200);
      expect(sandboxSchema.parse(await gone.json()).state).toBe("destroyed");
    }
  });

  it("pages through lists", async () => {
    for (let i = 0; i < 3; i += 1) await create({ metadata: { page: "p" } });
    const first = sandboxPageSchema.parse(await (await server.call("GET", "/sandboxes?metadata=page%3Dp&limit=2")).json());
    const second = sandboxPageSchema.parse(
      await (await server.call("GET", `/sandboxes?metadata=page%3Dp&limit=2&cursor=${first.next_cursor}`)).json(),
    );
    expect([first.items.length, second.items.length, second.next_cursor]).toEqual([2, 1, null]);
  });

  it("are made once per idempotency key", async () => {
    const headers = { "idempotency-key": "k-1" };
    const [a, b] = await Promise.all([1, 2].map(async () => (await server.call("POST", "/sandboxes", { json: {}, headers })).json()));
    expect(sandboxSchema.parse(a).id).toBe(sandboxSchema.parse(b).id);
    const other = await server.call("POST", "/sandboxes", { json: { image: "x" }, headers });
    expect((await problem(other)).code).toBe("idempotency_conflict");
    const bad = await server.call("POST", "/sandboxes", { json: {}, headers: { "idempotency-key": "a b" } });
    expect((await problem(bad)).errors?.[0]?.path).toBe("idempotency-key");
  });

  it.each(["sb0000000000000000000000", "nonsense", "..%2f..%2fetc", "SB000000000000000000000A"])(
    "answers 404 for the id %s",
    async (id) => {
      for (const [method, path] of [
        ["GET", ""],
        ["DELETE", ""],
      ] as const)
        expect(await problem(await server.call(method, `/sandboxes/${id}${path}`))).toMatchObject({
          status: 404,
          code: "sandbox_not_found",
        });
    },
  );
});

describe("strictness", () => {
  it.each([
    ["an unknown field", { imagee: "host" }, "imagee"],
    ["a string for a number", { memory_mb: "512" }, "memory_mb"],
    ["a number for a string", { image: 5 }, "image"],
    ["a nested mistake", { metadata: { team: 5 } }, "metadata.team"],
    ["a bad duration", { ttl: "soon" }, "ttl"],
    ["null for a body", null, ""],
    ["an array for a body", [], ""],
  ])("refuses %s by path", async (_name, json, path) => {
    const body = await problem(await server.call("POST", "/sandboxes", { json }));
    expect(body).toMatchObject({ status: 400, code: "invalid_request" });
    expect(body.errors?.map((error) => error.path)).toContain(path);
  });

  it.each([
    ["GET", "/sandboxes?colour=red", "colour"],
    ["GET", "/sandboxes?limit=ten", "limit"],
    ["GET", "/sandboxes?limit=0x10", "limit"],
    ["GET", "/sandboxes?limit=", "limit"],
    ["GET", "/sandboxes?limit=1&limit=2", "limit"],
    ["GET", "/sandboxes?__proto__=1", "__proto__"],
    ["POST", "/sandboxes?x=1", "x"],
  ])("refuses %s %s", async (method, path, field) => {
    const body = await problem(await server.call(method, path, method === "POST" ? { json: {} } : {}));
    expect(body).toMatchObject({ status: 400, code: "invalid_request" });
    expect(body.errors?.map((error) => error.path)).toEqual([field]);
  });

  it("refuses a body where none is taken", async () => {
    const { id } = await create();
    const body = await problem(await server.call("DELETE", `/sandboxes/${id}`, { json: { force: true } }));
    expect(body.errors).toEqual([{ path: "force", message: "is not a known field" }]);
  });

  it.each([
    ['{"image": }', 10],
    ['{"image": "a",}', 14],
    ["{'image': 1}", 1],
    ["[1, 2", 5],
    ["", undefined],
    ["nul", 0],
    ['{"a": 01}', 7],
    ['{"a\nb": 1}', 3],
    ['{"a": "\\x"}', 7],
    [`{"a": "${"x".repeat(100_000)}"`, 100_008],
    ["{} x", 3],
  ])("says where %j breaks", async (body, position) => {
    const found = await problem(await server.call("POST", "/sandboxes", { body, headers: { "content-type": "application/json" } }));
    expect(found).toMatchObject({ status: 400, code: "invalid_request" });
    expect(found.detail?.["position"]).toBe(position);
  });

  it("refuses bodies that are too deep, too large, not UTF-8, or reach for prototypes", async () => {
    const json = { "content-type": "application/json" };
    const deep = await server.call("POST", "/sandboxes", { body: `{"a":${"[".repeat(5000)}${"]".repeat(5000)}}`, headers: json });
    expect((await problem(deep)).message).toContain("nested deeper");
    const wide = await server.call("POST", "/sandboxes", { body: `{"a":[${"0,".repeat(30_000)}0]}`, headers: json });
    expect((await problem(wide)).message).toContain("parts");
    const large = await server.call("POST", "/sandboxes", { json: { metadata: { a: "x".repeat(1_100_000) } } });
    expect(await problem(large)).toMatchObject({ status: 413, code: "payload_too_large" });
    const broken = await server.call("POST", "/sandboxes", { body: Uint8Array.of(0x22, 0xff, 0x22), headers: json });
    expect((await problem(broken)).message).toContain("UTF-8");
    const proto = await server.call("POST", "/sandboxes", { body: '{"metadata": {"__proto__": {"x": "y"}}}', headers: json });
    expect((await problem(proto)).errors?.[0]?.path).toBe("metadata.__proto__");
  });

  it("refuses other content types with 415", async () => {
    for (const type of ["text/plain", "application/x-www-form-urlencoded", "nonsense"]) {
      const response = await server.call("POST", "/sandboxes", { body: "a=1", headers: { "content-type": type } });
      expect(await problem(response)).toMatchObject({ status: 415, code: "invalid_request" });
    }
  });

  it("tells a wrong path from a wrong method", async () => {
    expect(await problem(await server.call("GET", "/nothing"))).toMatchObject({ status: 404, code: "not_found" });
    const wrong = await server.call("PATCH", "/sandboxes");
    expect(wrong.headers.get("allow")).toBe("GET, POST");
    expect(await problem(wrong)).toMatchObject({ status: 405, code: "method_not_allowed" });
    expect(await problem(await fetch(`${server.url}/%zz`))).toMatchObject({ status: 400 });
    expect((await problem(await server.call("GET", `/sandboxes/${"a".repeat(3000)}`))).status).toBe(404);
  });
});

describe("keys", () => {
  const get = (headers: Record<string, string>) => fetch(`${server.url}/api/v1/sandboxes`, { headers });

  it("are taken from three headers", async () => {
    for (const headers of [
      { "x-api-key": API_KEY },
      { "x-api-key": ADMIN_KEY },
      { "x-admin-api-key": ADMIN_KEY },
      { authorization: `Bearer ${API_KEY}` },
    ] as Record<string, string>[])
      expect((await get(headers)).status).toBe(200);
  });

  it("are needed, right, and every one presented counts", async () => {
    for (const headers of [
      {},
      { "x-api-key": "wrong-key-0123456789" },
      { "x-api-key": "" },
      { authorization: `Basic ${API_KEY}` },
      { "x-api-key": API_KEY, authorization: "Bearer wrong-key-0123456789" },
      { "x-api-key": API_KEY, "x-admin-api-key": "x".repeat(2000) },
    ] as Record<string, string>[]) {
      const response = await get(headers);
      expect(response.headers.get("www-authenticate")).toContain("Bearer");
      expect(await problem(response)).toMatchObject({ status: 401, code: "unauthorized" });
    }
  });

  it("never come into the log", async () => {
    await get({ "x-api-key": "secret-wrong-key-0123456789" });
    await get({ authorization: `Bearer ${API_KEY}` });
    const text = JSON.stringify(server.log);
    expect(text).not.toContain("secret-wrong-key");
    expect(text).not.toContain(API_KEY);
    expect(server.log.some((line) => line["msg"] === "request refused" && line["error"] === "unauthorized")).toBe(true);
  });

  it("are not needed for probes", async () => {
    for (const base of ["", "/api/v1"]) {
      expect(await (await fetch(`${server.url}${base}/live`)).json()).toMatchObject({ status: "alive", version: "0.1.0" });
      expect((await fetch(`${server.url}${base}/ready`)).status).toBe(200);
      expect(await (await fetch(`${server.url}${base}/health`)).json()).toMatchObject({
        status: "ok",
        store: true,
        workers: { online: 1, draining: 0, unreachable: 0, pending: 0 },
      });
    }
  });

  it("readiness fails without the database, and health is degraded without a worker that is online", async () => {
    const before = server.operations.healthy;
    server.operations.healthy = { store: false, workers: null };
    const response = await fetch(`${server.url}/ready`);
    expect([response.status, await response.json()]).toMatchObject([503, { status: "not_ready", store: false, workers: null }]);
    expect(await (await fetch(`${server.url}/health`)).json()).toMatchObject({ status: "degraded" });
    server.operations.healthy = { store: true, workers: { pending: 1, online: 0, draining: 2, unreachable: 0 } };
    expect((await fetch(`${server.url}/ready`)).status).toBe(200);
    expect(await (await fetch(`${server.url}/health`)).json()).toMatchObject({ status: "degraded", workers: { draining: 2 } });
    server.operations.healthy = before;
  });
});

describe("requests", () => {
  it("have an id that is echoed when sane and logged in one line", async () => {
    const given = await server.call("GET", "/sandboxes", { headers: { "x-request-id": "abc-123" } });
    expect(given.headers.get("x-request-id")).toBe("abc-123");
    await given.text();
    const odd = await server.call("GET", "/sandboxes", { headers: { "x-request-id": "a b\tc" } });
    expect(odd.headers.get("x-request-id")).toMatch(/^[0-9a-f]{24}$/);
    await expect.poll(() => server.log.filter((line) => line["request_id"] === "abc-123")).toHaveLength(1);
    expect(server.log.find((line) => line["request_id"] === "abc-123")).toMatchObject({
      method: "GET",
      route: "/api/v1/sandboxes",
      status: 200,
      key: "api",
      complete: true,
    });
  });

  it("are answered with security headers and never leak what failed inside", async () => {
    const broken = await startTestServer();
    await using _ = broken;
    broken.operations.list = () => Promise.reject(new Error("secret inside"));
    const response = await broken.call("GET", "/sandboxes");
    expect(response.headers.get("x-content-type-options")).toBe("nosniff");
    expect(response.headers.get("cache-control")).toBe("no-store");
    const text = await response.text();
    expect(text).not.toContain("secret inside");
    expect(JSON.parse(text)).toMatchObject({ status: 500, code: "internal" });
    expect(JSON.stringify(broken.log)).toContain("secret inside");
  });

  it("from browsers are let in by exact origin only", async () => {
    await using open = await startTestServer({ corsAllowedOrigins: ["https://app.example.org"] });
    const preflight = (origin: string) =>
      fetch(`${open.url}/api/v1/sandboxes`, { method: "OPTIONS", headers: { origin, "access-control-request-method": "POST" } });
    const good = await preflight("https://app.example.org");
    expect([good.status, good.headers.get("access-control-allow-origin")]).toEqual([204, "https://app.example.org"]);
    expect(good.headers.get("access-control-allow-headers")).toContain("X-API-Key");
    for (const origin of ["https://app.example.org.evil.test", "http://app.example.org", "null"]) {
      const bad = await preflight(origin);
      expect([bad.status, bad.headers.get("access-control-allow-origin")]).toEqual([403, null]);
      await bad.text();
    }
    const simple = await open.call("GET", "/sandboxes", { headers: { origin: "https://app.example.org" } });
    expect(simple.headers.get("access-control-allow-origin")).toBe("https://app.example.org");
    expect(
      (await server.call("GET", "/sandboxes", { headers: { origin: "https://app.example.org" } })).headers.has(
        "access-control-allow-origin",
      ),
    ).toBe(false);
    await expect(startTestServer({ corsAllowedOrigins: ["*"] })).rejects.toMatchObject({ code: "invalid_request" });
  });
});
