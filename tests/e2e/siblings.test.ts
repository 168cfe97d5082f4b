import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { request } from "node:http";
import type { Process, Sandbox } from "@caisson/contract";
import { ask, begin } from "@caisson/testkit";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { CountedDigest, countingSha256 } from "../harness/counting.ts";
import { ndjson } from "../harness/ndjson.ts";
import { openOutput } from "../harness/output-connection.ts";
import { showPort } from "../harness/shown-port.ts";
import { SiblingPlanes } from "../harness/siblings.ts";
import { letCount, startCounting } from "../harness/slow-reader.ts";
import { describeSandboxSuite } from "../sandbox-suite/sandbox-suite.ts";

const MIB = 1_048_576;

let planes: SiblingPlanes;
let sandbox: Sandbox;
beforeAll(async () => {
  planes = await SiblingPlanes.start();
});
afterAll(() => planes[Symbol.asyncDispose]());
beforeEach(async () => {
  sandbox = await planes.target.createInfo();
  return async () => void (await planes.near.fetch("DELETE", `/sandboxes/${sandbox.id}`).catch(() => undefined));
});

/** What a server said of a request when it was over. */
function logged(server: { readonly output: string }, requestId: string): Record<string, unknown> | undefined {
  const line = server.output.split("\n").find((one) => one.includes(`"${requestId}"`) && /"msg":"(request|preview)/.test(one));
  return line === undefined ? undefined : (JSON.parse(line) as Record<string, unknown>);
}

/** An upload that is sent piece by piece; its answer comes when it is ended. */
function upload(path: string, headers: Record<string, string> = {}): ReturnType<typeof request> {
  const url = `${planes.far.url}/api/v1/sandboxes/${sandbox.id}/files?path=${path}`;
  const all = { "x-api-key": planes.far.apiKey, "content-type": "application/octet-stream", ...headers };
  const outgoing = request(url, { method: "PUT", agent: false, headers: all });
  outgoing.on("error", () => undefined);
  return outgoing;
}

describe("through a control plane that has no link with the worker", () => {
  describeSandboxSuite(() => planes.target, ["commands", "terminals", "files", "ports", "previews", "observation"]);

  it("a request is passed on once, under one id, and the log says to whom", async () => {
    const { status } = await planes.far.fetch(
      "POST",
      `/sandboxes/${sandbox.id}/exec`,
      { command: "true" },
      { headers: { "x-request-id": "one" } },
    );
    expect(status).toBe(200);
    await expect.poll(() => logged(planes.near, "one")).toMatchObject({ status: 200, key: "api" });
    await expect
      .poll(() => logged(planes.far, "one"))
      .toMatchObject({ status: 200, key: "api", forwarded_to: expect.stringMatching(/^cp/) });
    const known = await planes.far.fetch("GET", "/sandboxes", undefined, { headers: { "x-request-id": "two" } });
    expect([known.status, logged(planes.near, "two")]).toEqual([200, undefined]);
  });

  it("a slow reader of a long stream gets every byte, and the process waits for it", async () => {
    const bytes = 96 * MIB;
    const running = await startCounting(planes.far, sandbox.id, bytes, { on_full: "block", output_limit: MIB });
    const resident = (): number => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${planes.far.pid}/status`, "utf8"))?.[1]) / 1024;
    const before = resident();
    const output = await openOutput(planes.far, running.path, { offset: 0, form: "records" });
    await letCount(planes.far, running);
    const digest = new CountedDigest();
    let most = 0;
    let rested = false;
    for await (const said of output) {
      if (said.type !== "bytes") continue;
      digest.add(said.offset, said.bytes);
      most = Math.max(most, resident());
      if (rested || digest.next < MIB) continue;
      rested = true;
      // Nobody reads: the process stands still, long before its end.
      let end = -1;
      const stands = async (): Promise<boolean> => end === (end = (await planes.far.json<Process>("GET", running.path)).stdout.end);
      await expect.poll(stands, { interval: 500 }).toBe(true);
      expect(end).toBeLessThan(bytes / 2);
    }
    expect([digest.next, digest.hex()]).toEqual([bytes, countingSha256(bytes)]);
    expect(most - before).toBeLessThan(96);
  });

  it("an upload is asked for, checked by its digest, and comes back the same", async () => {
    const content = randomBytes(24 * MIB);
    const digestOf = (bytes: Buffer): string => `sha-256=:${createHash("sha256").update(bytes).digest("base64")}:`;
    const asked = upload("/home/user/one", { expect: "100-continue", "repr-digest": digestOf(content) });
    asked.flushHeaders();
    await once(asked, "continue");
    const answered = once(asked, "response");
    asked.end(content);
    expect((await answered)[0]).toMatchObject({ statusCode: 200 });
    const wrong = upload("/home/user/one", { "repr-digest": digestOf(Buffer.from("other")) });
    const refused = once(wrong, "response");
    wrong.end("something");
    expect((await refused)[0]).toMatchObject({ statusCode: 422 });
    const headers = { "x-api-key": planes.far.apiKey, "want-repr-digest": "sha-256=1" };
    const back = await ask(planes.far.url, `/api/v1/sandboxes/${sandbox.id}/files?path=/home/user/one`, { headers });
    expect(back.headers["repr-digest"]).toBe(digestOf(content));
    expect(back.body.equals(content)).toBe(true);
  });

  it("a preview shows pages, takes bodies, and switches to WebSocket", async () => {
    const { host, get } = await showPort(planes.far, sandbox);
    const forged = { "caisson-forwarded": "declined", "x-forwarded-for": "203.0.113.7" };
    expect((await get("/page?q=1")).body.toString()).toBe("/page?q=1");
    const headers = { "x-api-key": planes.far.apiKey };
    const posted = await ask(planes.far.url, "/posted", { host, method: "POST", headers, body: randomBytes(4 * MIB) });
    expect([posted.status, posted.body.toString()]).toEqual([200, "/posted"]);
    // What says that it was passed on is not passed on.
    expect((await ask(planes.far.url, "/", { host, headers: { ...headers, ...forged } })).status).toBe(503);
    expect((await ask(planes.near.url, "/", { host, headers: { ...headers, ...forged } })).status).toBe(200);
    expect((await ask(planes.far.url, "/", { host })).status).toBe(401);
  });

  it("who goes away is told to the other one", async () => {
    const running = await startCounting(planes.far, sandbox.id, MIB, { on_full: "block", output_limit: MIB });
    const headers = { "x-api-key": planes.far.apiKey, accept: "application/x-ndjson", "x-request-id": "gone" };
    const answer = await begin(planes.far.url, `/api/v1${running.path}/output`, { headers });
    answer.destroy();
    await expect.poll(() => logged(planes.near, "gone")).toMatchObject({ complete: false });
  });

  it("no key, a wrong one, and one that may not: each is refused as always", async () => {
    const path = `/sandboxes/${sandbox.id}/exec`;
    for (const key of ["", "wrong-key-0123456789"]) {
      const headers = { "x-api-key": key, "caisson-forwarded": "cp1" };
      for (const server of [planes.far, planes.near])
        expect((await server.fetch("POST", path, { command: "true" }, { headers })).status).toBe(401);
    }
  });

  it("a request that says it was passed on is passed on no further, whoever sends it", async () => {
    const headers = { "caisson-forwarded": "cp1", "x-request-id": "forged" };
    const refused = await planes.far.fetch("POST", `/sandboxes/${sandbox.id}/exec`, { command: "true" }, { headers });
    expect([refused.status, refused.headers.get("caisson-forwarded")]).toEqual([503, "declined"]);
    expect(refused.headers.get("retry-after")).toMatch(/^\d+$/);
    expect(await refused.json()).toMatchObject({ code: "worker_unavailable" });
    expect(logged(planes.near, "forged")).toBeUndefined();
    // The one that has a link takes it.
    expect((await planes.near.fetch("POST", `/sandboxes/${sandbox.id}/exec`, { command: "true" }, { headers })).status).toBe(200);
  });
});

describe("what is under way when the other control plane dies", () => {
  beforeEach(() => async () => {
    if (!planes.near.running) await planes.near.up();
    await planes.untilPassedOn(sandbox.id);
  });

  it("ends by name, and never looks whole", async () => {
    const { far, near } = planes;
    const path = `/sandboxes/${sandbox.id}`;
    const headers = { "x-api-key": far.apiKey };
    const { host } = await showPort(far, sandbox);
    await far.json("POST", `${path}/exec`, { command: "truncate -s 256M /home/user/large" });
    const stream = ndjson(await far.fetch("POST", `${path}/exec`, { command: "echo begun; sleep 100", stream: true }));
    expect((await stream.next()).value).toMatchObject({ type: "start" });
    expect((await stream.next()).value).toMatchObject({ type: "output" });
    const events = await begin(far.url, `/api/v1${path}/stats/stream?interval=1s`, { headers });
    const download = await begin(far.url, `/api/v1${path}/files?path=/home/user/large`, { headers });
    const shown = await begin(far.url, "/events", { host, headers });
    const sent = upload("/home/user/half");
    const answered = once(sent, "response");
    sent.write(randomBytes(MIB));
    const waiting = far.fetch("POST", `${path}/exec`, { command: "sleep 100" });
    const socket = new WebSocket(`${far.url.replace("http", "ws")}/api/v1${path}/exec/ws`, "caisson.exec.v1", { headers });
    await once(socket, "open");
    socket.send(JSON.stringify({ type: "start", command: "echo $$; sleep 100" }));
    await once(socket, "message");
    const closed = once(socket, "close");
    let text = "";
    const told = new Promise((resolve) => {
      events.on("data", (chunk: Buffer) => {
        text += chunk.toString();
        if (text.includes("event: stats")) resolve(undefined);
      });
    });
    await told;
    const eventsEnd = once(events, "end");
    const breaks = [download, shown].map((answer) => once(answer.resume(), "error"));

    await near.kill9();
    expect((await stream.next()).value).toMatchObject({ type: "error", code: "worker_unavailable" });
    expect((await stream.next()).done).toBe(true);
    await eventsEnd;
    expect(text).toMatch(/\n\nevent: error\ndata: \{"code":"worker_unavailable",.*"retryable":true\}\n\n$/);
    for (const one of breaks) expect((await one)[0]).toMatchObject({ code: "ECONNRESET" });
    expect((await closed)[0]).toBe(1006);
    for (const answer of [await waiting, await answerOf(answered)]) expect(answer).toMatchObject({ status: 503 });
    expect(download.complete).toBe(false);
    sent.destroy();

    await near.up();
    const list = (): Promise<string> => far.fetch("POST", `${path}/exec`, { command: "ls /home/user" }).then((answer) => answer.text());
    await expect.poll(list, { timeout: 60_000 }).toContain("large");
    expect(await list()).not.toContain("half");
  });

  it("nobody has a link: 503 and a time to wait, as ever", async () => {
    await planes.near.kill9();
    const begun = performance.now();
    const refused = await planes.far.fetch("POST", `/sandboxes/${sandbox.id}/exec`, { command: "true" });
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "10"]);
    expect(await refused.json()).toMatchObject({ code: "worker_unavailable", detail: { worker_id: "worker-a" } });
    expect(performance.now() - begun).toBeLessThan(8_000);
  });

  it("one that does not answer is given up before the body was sent", async () => {
    process.kill(planes.near.pid, "SIGSTOP");
    try {
      const refused = await planes.far.fetch("POST", `/sandboxes/${sandbox.id}/exec`, { command: "touch /home/user/late" });
      expect([refused.status, ((await refused.json()) as { code: string }).code]).toEqual([503, "worker_unavailable"]);
    } finally {
      process.kill(planes.near.pid, "SIGCONT");
    }
    const listed = (): Promise<string> =>
      planes.far.fetch("POST", `/sandboxes/${sandbox.id}/exec`, { command: "ls /home/user" }).then((answer) => answer.text());
    await expect.poll(listed, { timeout: 60_000 }).toContain('"exit_code":0');
    expect(await listed()).not.toContain("late");
  });
});

async function answerOf(answered: Promise<unknown[]>): Promise<{ readonly status: number | undefined }> {
  const [answer] = (await answered) as [{ readonly statusCode?: number }];
  return { status: answer.statusCode };
}
