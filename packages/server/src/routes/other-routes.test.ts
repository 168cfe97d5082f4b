import {
  eventSchema,
  execRecordSchema,
  imageListSchema,
  workerImageSchema,
  processListSchema,
  processSchema,
  providerReportSchema,
  type ExecRecord,
} from "@caisson/contract";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ADMIN_KEY, startTestServer, type TestServer } from "../testing/test-server.ts";

let server: TestServer;
let box: string;
beforeAll(async () => {
  server = await startTestServer();
  box = `/sandboxes/${(await server.operations.create({})).id}`;
});
afterAll(() => server[Symbol.asyncDispose]());

const json = async (response: Response): Promise<Record<string, unknown>> => (await response.json()) as Record<string, unknown>;
const admin = { "x-admin-api-key": ADMIN_KEY };
const background = async (command: string, more: object = {}) =>
  processSchema.parse(await json(await server.call("POST", `${box}/exec`, { json: { command, background: true, ...more } })));
const records = async (path: string): Promise<ExecRecord[]> =>
  (await (await server.call("GET", `${box}/processes/${path}`)).text())
    .trimEnd()
    .split("\n")
    .map((line) => execRecordSchema.parse(JSON.parse(line)));

describe("processes", () => {
  it("are listed and shown", async () => {
    const started = await background("echo listed; sleep 0.05; exit 7");
    expect((await records(`${started.process_id}/output`)).at(-1)).toMatchObject({ type: "exit", exit_code: 7 });
    const shown = processSchema.parse(await json(await server.call("GET", `${box}/processes/${started.process_id}`)));
    expect(shown).toMatchObject({ running: false, exit: { exit_code: 7, timed_out: false }, stdout: { start: 0, end: 7 } });
    const list = processListSchema.parse(await json(await server.call("GET", `${box}/processes`)));
    expect(list.items.map((item) => item.process_id)).toContain(started.process_id);
  });

  it("give their output from any offset, with or without waiting", async () => {
    const { process_id: id } = await background("printf 0123456789; sleep 60");
    await expect.poll(async () => processSchema.parse(await json(await server.call("GET", `${box}/processes/${id}`))).stdout.end).toBe(10);
    const now = await records(`${id}/output?follow=false&stdout_offset=7`);
    expect(now).toMatchObject([
      { type: "start", process_id: id },
      { type: "output", offset: 7, data: "789" },
    ]);
    const following = records(`${id}/output?stdout_offset=10`);
    expect(await json(await server.call("POST", `${box}/processes/${id}/signal`, { json: { signal: "KILL" } }))).toEqual({ signalled: 1 });
    expect((await following).map((record) => record.type)).toEqual(["start", "exit"]);
    expect(await json(await server.call("POST", `${box}/processes/${id}/signal`))).toEqual({ signalled: 0 });
  });

  it("give the bytes of one stream and nothing else", async () => {
    const { process_id: id } = await background("printf 0123456789; printf no >&2; printf '\\377\\000end'");
    const bytes = (query: string) =>
      server.call("GET", `${box}/processes/${id}/output${query}`, { headers: { accept: "application/octet-stream" } });
    const all = await bytes("");
    expect([all.status, all.headers.get("content-type"), all.headers.get("x-output-offset")]).toEqual([
      200,
      "application/octet-stream",
      "0",
    ]);
    expect(all.headers.has("x-output-gap")).toBe(false);
    expect(Buffer.from(await all.arrayBuffer()).toString("latin1")).toBe("0123456789\u00ff\0end");
    const rest = await bytes("?stdout_offset=12&follow=false");
    expect(rest.headers.get("x-output-offset")).toBe("12");
    expect(await rest.text()).toBe("end");
    expect(await (await bytes("?stream=stderr&stderr_offset=1")).text()).toBe("o");
  });

  it("refuse what does not fit the form asked for", async () => {
    const { process_id: id } = await background("true");
    const refused = async (query: string, accept: string) => {
      const answer = await server.call("GET", `${box}/processes/${id}/output${query}`, { headers: { accept } });
      return json(answer);
    };
    for (const [query, accept, path] of [
      ["?stream=stdout", "*/*", "stream"],
      ["?stream=stdout&stderr_offset=1", "text/plain, application/octet-stream;q=0.5", "stderr_offset"],
      ["?stream=stdin", "application/octet-stream", "stream"],
    ] as const)
      expect(await refused(query, accept)).toMatchObject({ code: "invalid_request", errors: [{ path }] });
  });

  it("take input as raw bytes and its end", async () => {
    const { process_id: id } = await background("cat", { stdin_open: true, stdin: "a" });
    expect(await json(await server.call("POST", `${box}/processes/${id}/stdin`, { body: Uint8Array.of(98, 0, 255) }))).toEqual({
      written: 3,
    });
    expect(await json(await server.call("POST", `${box}/processes/${id}/stdin?close=true`, { body: "z" }))).toEqual({ written: 1 });
    const all = await records(`${id}/output`);
    const bytes = all.flatMap((record) => (record.type === "output" ? [Buffer.from(record.data, record.encoding ?? "utf8")] : []));
    expect(Buffer.concat(bytes).toString("hex")).toBe("616200ff7a");
    expect(all.at(-1)).toMatchObject({ type: "exit", exit_code: 0 });
  });

  it("that do not exist are 404, whatever the id looks like", async () => {
    for (const id of ["999999", "0", "-1", "1e3", "abc", "99999999999999999999"])
      expect(await json(await server.call("GET", `${box}/processes/${id}`))).toMatchObject({ status: 404, code: "process_not_found" });
    expect(await json(await server.call("GET", `${box}/processes/999999/output`))).toMatchObject({ code: "process_not_found" });
  });
});

describe("images", () => {
  it("are listed by anyone with a key, changed by the admin key only", async () => {
    expect(imageListSchema.parse(await json(await server.call("GET", "/images"))).items[0]?.name).toBe("host");
    for (const [method, path] of [
      ["POST", "/images"],
      ["POST", "/images/import?name=x"],
      ["DELETE", "/images/x"],
    ] as const)
      expect(await json(await server.call(method, path))).toMatchObject({ status: 403, code: "forbidden" });
    const pulled = await server.call("POST", "/images", { json: { reference: "library/debian:12" }, headers: admin });
    expect(workerImageSchema.parse(await json(pulled)).source).toBe("registry");
    const imported = await server.call("POST", "/images/import?name=team/app:1", { body: new Uint8Array(3_000_000), headers: admin });
    expect([imported.status, workerImageSchema.parse(await json(imported))]).toMatchObject([
      201,
      { name: "team/app:1", size_bytes: 3_000_000 },
    ]);
    for (const name of ["library/debian:12", "team/app:1"])
      expect((await server.call("DELETE", `/images/${encodeURIComponent(name)}`, { headers: admin })).status).toBe(204);
    expect(await json(await server.call("DELETE", "/images/none", { headers: admin }))).toMatchObject({ code: "image_not_found" });
    expect(await json(await server.call("POST", "/images/import?name=Bad%20Name", { headers: admin }))).toMatchObject({
      code: "invalid_request",
    });
  });
});

describe("the rest", () => {
  it("logs, stats, events, providers, workers", async () => {
    const logs = await json(await server.call("GET", `${box}/logs?lines=2`));
    expect(logs).toEqual({ lines: ["two", "three"], next_cursor: "3", truncated: false });
    expect(await json(await server.call("GET", `${box}/logs?after=2`))).toMatchObject({ lines: ["three"] });
    for (const query of ["after=x", "after=1&lines=1", "limit=1", "lines=0"])
      expect((await server.call("GET", `${box}/logs?${query}`)).status).toBe(400);
    expect(await json(await server.call("GET", `${box}/stats`))).toMatchObject({
      uptime_ms: expect.any(Number),
      cpu: { percent: null },
      disk: { total_bytes: 2 },
    });
    expect((await server.call("GET", `${box}/stats/stream?interval=1ms`)).status).toBe(400);
    const { items } = (await json(await server.call("GET", "/events?limit=1"))) as { items: unknown[] };
    const event = eventSchema.parse(items[0]);
    expect(((await json(await server.call("GET", `/events?after=${event.seq}`))) as { items: unknown[] }).items).toEqual([]);
    expect(((await json(await server.call("GET", "/providers"))) as { items: unknown[] }).items).toHaveLength(1);
    expect(providerReportSchema.parse(await json(await server.call("GET", "/providers/mock"))).default).toBe(true);
    expect(await json(await server.call("GET", "/providers/none"))).toMatchObject({ status: 404, code: "provider_not_found" });
    expect(await json(await server.call("GET", "/workers"))).toMatchObject({ items: [{ id: "local", providers: [{ name: "mock" }] }] });
  });

  it.each(["/events?after=-1", "/events?limit=5000", "/events?since=1", `/providers?x=1`, "/workers?x=1", "/live?x=1"])(
    "refuses %s",
    async (path) => {
      expect(await json(await server.call("GET", path))).toMatchObject({ status: 400, code: "invalid_request" });
    },
  );
});
