import { createServer as createTcpServer, type Server } from "node:net";
import { CaissonError, LINK_HEADERS, SCOPES, systemClock } from "@caisson/contract";
import type { PresentedCredential, WorkerIdentity } from "@caisson/control";
import { Link } from "@caisson/link";
import { ControlClient, dialLink, workerLinkOptions, type Dialled } from "@caisson/worker-link";
import { pino } from "pino";
import { afterEach, beforeEach, expect, it } from "vitest";
import { MemorySessions } from "../testing/memory-sessions.ts";
import { startTestServer, type TestServer } from "../testing/test-server.ts";
import { WorkerLinks } from "./worker-links.ts";

const TOKEN = "worker-token-0123456789";

let server: TestServer;
let sessions: MemorySessions;
let seen: PresentedCredential[];
/** While it is pending, credentials are being looked at. */
let looking: Promise<void> | undefined;
const links: Link[] = [];

beforeEach(async () => {
  sessions = new MemorySessions();
  seen = [];
  looking = undefined;
  const verify = async (presented: PresentedCredential): Promise<WorkerIdentity> => {
    seen.push(presented);
    await looking;
    if (presented.token !== TOKEN) throw new CaissonError("unauthorized", "No worker has this token.");
    return {
      workerId: presented.workerId ?? "",
      credential: "shared",
      tenantId: null,
      scopes: new Set(SCOPES),
      keyThumbprint: null,
      expiresAt: null,
      issuedAt: null,
      keyId: null,
    };
  };
  const workerLinks = new WorkerLinks({
    controlPlaneId: "cp-1",
    identities: { verify, challenge: async () => "a-nonce" },
    sessions,
    clock: systemClock,
    logger: pino({ level: "silent" }),
  });
  server = await startTestServer({ workerLinks });
});
afterEach(async () => {
  for (const link of links.splice(0)) link.close();
  await server[Symbol.asyncDispose]();
});

function dial(headers: Record<string, string>, url = server.url): Promise<Dialled> {
  return dialLink({ url, headers, unreachable: "server_unreachable", signal: AbortSignal.timeout(30_000) });
}

async function connect(workerId: string): Promise<Link> {
  const dialled = await dial({ authorization: `Bearer ${TOKEN}`, [LINK_HEADERS.workerId]: workerId });
  if (dialled.kind === "refused") throw dialled.error;
  expect(dialled.shown.controlPlane).toBe("cp-1");
  const link = new Link(
    dialled.stream,
    workerLinkOptions(dialled.stream, "worker", "dialler", (call) => call.reply({ asked: call.method }, { fin: true })),
  );
  links.push(link);
  await link.ready;
  return link;
}

it("opens a session for a worker whose credential is right, and asks and hears over it", async () => {
  const link = await connect("w1");
  const { identity, host, heartbeats } = await sessions.nth(1);
  expect([identity.workerId, host.workerId]).toEqual(["w1", "w1"]);
  expect(seen).toEqual([{ token: TOKEN, workerId: "w1" }]);
  await host.destroy({ sandboxId: "sb000000000000000000000", epoch: 1 });
  const amounts = { vcpus: 1, memory_mb: 1, disk_mb: 1, sandboxes: 0 };
  const sent = { session: "s", sequence: 1, version: "1", now: 0, draining: false, labels: {}, capacity: amounts, used: amounts };
  const rest = { providers_digest: "", images: [], preview_domain: null, preview_url: null, public_url: null, advertise_addr: null };
  const reply = await new ControlClient(link).heartbeat({ ...sent, ...rest, on_control_loss: "run" });
  expect(reply.lease_ms).toBe(90_000);
  expect(heartbeats).toMatchObject([{ sequence: 1 }]);
});

it("refuses a wrong credential with a nonce for the next attempt, and none at all", async () => {
  for (const headers of [{ authorization: "Bearer wrong-token-0123456789" }, {}, { authorization: `Bearer ${"x".repeat(9_000)}` }]) {
    const answer = await dial(headers as Record<string, string>);
    expect(answer).toMatchObject({ kind: "refused", status: 401, nonce: "a-nonce", error: { code: "unauthorized" } });
  }
  expect(sessions.all).toEqual([]);
  const plain = await fetch(`${server.url}/api/v1/link`);
  expect([plain.status, plain.headers.get("upgrade")]).toEqual([426, "caisson-link"]);
});

it("looks at so many credentials of one address at once, and refuses the rest without a look", async () => {
  const gate = Promise.withResolvers<void>();
  looking = gate.promise;
  const dialled = Array.from({ length: 100 }, () => dial({ authorization: "Bearer wrong-token-0123456789" }));
  let limited = 0;
  for (const one of dialled)
    void one.then((answer) => {
      if (answer.kind === "refused" && answer.error.code === "resource_limit") limited += 1;
      // All others wait for the one who looks.
      if (limited === 36) gate.resolve();
    });
  const answers = await Promise.all(dialled);
  expect(answers.filter((one) => one.kind === "refused" && one.error.code === "unauthorized")).toHaveLength(64);
  expect(seen).toHaveLength(64);
  // Every place was given back.
  await connect("w1");
});

it("keeps the newest few links of one worker, and all of the others", async () => {
  // None of them is heard, so that none takes the place of another.
  sessions.countsAtOnce = false;
  const other = await connect("w2");
  const opened: Link[] = [];
  for (let i = 0; i < 20; i += 1) opened.push(await connect("w1"));
  for (const link of opened.slice(0, 12)) expect(await link.closed).toMatchObject({ code: "conflict" });
  expect(opened.slice(12).map(({ reason }) => reason)).toEqual(Array.from({ length: 8 }, () => undefined));
  expect(other.reason).toBeUndefined();
});

it("tells the worker why its link was ended, and closes the session with the link", async () => {
  const link = await connect("w1");
  const session = await sessions.nth(1);
  session.end(new CaissonError("unauthorized", "The worker was revoked."));
  expect(await link.closed).toMatchObject({ code: "unauthorized", message: /revoked/ });
  await expect.poll(() => session.closed).toBe(true);
  const newer = await connect("w1");
  const second = await sessions.nth(2);
  newer.close();
  await expect.poll(() => second.closed).toBe(true);
});

it("fails calls under way with worker_unavailable when the link goes, whatever the reason", async () => {
  const link = await connect("w1");
  const { host, end } = await sessions.nth(1);
  const { stream } = await raw("w2");
  const silent = new Link(
    stream,
    workerLinkOptions(stream, "worker", "dialler", () => undefined),
  );
  links.push(silent);
  const second = await sessions.nth(2);
  const asked = second.host.describe();
  asked.catch(() => undefined);
  second.end(new CaissonError("unauthorized", "The worker was revoked."));
  await expect(asked).rejects.toMatchObject({ code: "worker_unavailable" });
  await host.destroy({ sandboxId: "sb000000000000000000000", epoch: 1 });
  end(new CaissonError("conflict", "A newer link came."));
  await link.closed;
});

it("does not end a link when the time limit of its dialling is over", async () => {
  const limit = new AbortController();
  const headers = { authorization: `Bearer ${TOKEN}`, [LINK_HEADERS.workerId]: "w1" };
  const dialled = await dialLink({ url: server.url, headers, unreachable: "server_unreachable", signal: limit.signal });
  if (dialled.kind === "refused") throw dialled.error;
  limit.abort();
  const link = new Link(
    dialled.stream,
    workerLinkOptions(dialled.stream, "worker", "dialler", (call) => call.reply({}, { fin: true })),
  );
  links.push(link);
  await (await sessions.nth(1)).host.destroy({ sandboxId: "sb000000000000000000000", epoch: 1 });
  expect(link.reason).toBeUndefined();
});

it("ends links last when it closes, and refuses new ones", async () => {
  const link = await connect("w1");
  await server.server.close();
  expect(await link.closed).toMatchObject({ code: "shutting_down" });
  await expect(dial({ authorization: `Bearer ${TOKEN}` })).rejects.toMatchObject({ code: "server_unreachable" });
});

it("takes what is none of ours for a refusal or for nobody, within its time", async () => {
  const said: string[] = ["HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", "SSH-2.0-OpenSSH_9\r\n", ""];
  for (const words of said) {
    const other: Server = createTcpServer((socket) => {
      socket.on("error", () => undefined);
      if (words !== "") socket.write(words);
    });
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    const { port } = other.address() as { port: number };
    // Who says nothing is waited for to the end.
    const signal = AbortSignal.timeout(words === "" ? 300 : 30_000);
    const answer = await dialLink({ url: `http://127.0.0.1:${port}`, headers: {}, unreachable: "worker_unavailable", signal }).catch(
      (error: unknown) => error,
    );
    if (words.startsWith("HTTP")) expect(answer).toMatchObject({ kind: "refused", status: 302 });
    else expect(answer).toMatchObject({ code: "worker_unavailable" });
    other.close();
  }
});

async function raw(workerId: string): Promise<Extract<Dialled, { kind: "switched" }>> {
  const dialled = await dial({ authorization: `Bearer ${TOKEN}`, [LINK_HEADERS.workerId]: workerId });
  if (dialled.kind === "refused") throw dialled.error;
  return dialled;
}
