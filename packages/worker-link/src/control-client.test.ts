import { duplexPair } from "node:stream";
import { CaissonError, SCOPES, type Heartbeat, type HeartbeatReply, type Scope } from "@caisson/contract";
import { Link } from "@caisson/link";
import { afterEach, expect, it } from "vitest";
import { ControlClient } from "./control-client.ts";
import { serveControl } from "./serve-control.ts";
import { workerLinkOptions } from "./worker-link-options.ts";

type Session = Parameters<typeof serveControl>[0];

const REF = { sandbox_id: "sb000000000000000000000", epoch: 3 };
const AMOUNTS = { vcpus: 2, memory_mb: 1024, disk_mb: 10_000, sandboxes: 0 };
const HEARTBEAT: Heartbeat = {
  session: "s",
  sequence: 1,
  version: "0.1.0",
  now: 1.5,
  draining: false,
  labels: { zone: "a" },
  capacity: AMOUNTS,
  used: AMOUNTS,
  providers_digest: "d",
  images: ["host"],
  preview_domain: null,
  preview_url: null,
  public_url: null,
  advertise_addr: null,
  on_control_loss: "run",
};
const REPLY: HeartbeatReply = {
  lease_ms: 90_000,
  send_providers: true,
  drain: false,
  control_planes: [{ id: "c", url: "http://127.0.0.1:1" }],
  keys: { keys: [{ kty: "OKP" }] },
};

const links: Link[] = [];
afterEach(() => {
  for (const link of links.splice(0)) link.close();
});

function connected(session: Partial<Session>, scopes: ReadonlySet<Scope> = new Set(SCOPES)): { client: ControlClient; worker: Link } {
  const [a, b] = duplexPair();
  const nobody = (): never => {
    throw new CaissonError("internal", "not asked in this test");
  };
  const calls = { heartbeat: nobody, challenge: nobody, renew: nobody, report: nobody, processesChanged: nobody, portAccess: nobody };
  const control = new Link(a, workerLinkOptions(a, "control", "listener", serveControl({ scopes, ...calls, ...session })));
  const worker = new Link(
    b,
    workerLinkOptions(b, "worker", "dialler", (call) => call.end()),
  );
  links.push(control, worker);
  return { client: new ControlClient(worker), worker };
}

it("brings heartbeats and what answers them", async () => {
  const heard: unknown[] = [];
  const { client, worker } = connected({
    heartbeat: async (heartbeat) => {
      heard.push(heartbeat);
      return REPLY;
    },
  });
  expect(await client.heartbeat(HEARTBEAT)).toEqual(REPLY);
  // A later version says more, and knows of capabilities that we do not.
  const provider = { name: "oci", tier: "container", available: true, capabilities: { pty: true, teleport: true }, runtimes: [], news: 1 };
  await worker.open("control.heartbeat", { ...HEARTBEAT, mood: "good", providers: [provider] }, { noInput: true }).reply;
  expect(heard[0]).toEqual(HEARTBEAT);
  expect(heard[1]).toMatchObject({ providers: [{ capabilities: { pty: true, freeze: false } }] });
  expect(heard[1]).not.toHaveProperty("mood");
  expect((heard[1] as Heartbeat).providers?.[0]?.capabilities).not.toHaveProperty("teleport");
});

it("takes no address that leads elsewhere than it looks, and goes on without", async () => {
  const heard: Heartbeat[] = [];
  const { client } = connected({
    heartbeat: async (heartbeat) => {
      heard.push(heartbeat);
      return REPLY;
    },
  });
  const urls = [
    "javascript:alert(1)",
    "file:///etc/passwd",
    "http://caisson.example.org@evil.example",
    "https://a/path?x=",
    "http://a\\b",
    "http://[::g]",
  ];
  for (const url of urls) await client.heartbeat({ ...HEARTBEAT, public_url: url, preview_url: url });
  for (const domain of ["a b", "evil.example/x", "a:80", "UP.example", "x".repeat(250)])
    await client.heartbeat({ ...HEARTBEAT, preview_domain: domain });
  for (const addr of ["user@host:80", "host", "host:80/x", "gopher://host:70", "ho\u0000st/:80"])
    await client.heartbeat({ ...HEARTBEAT, advertise_addr: addr });
  expect(heard).toHaveLength(16);
  for (const { public_url, preview_url, preview_domain, advertise_addr } of heard)
    expect([public_url, preview_url, preview_domain, advertise_addr]).toEqual([null, null, null, null]);
  const good = { public_url: "https://w1.example.org", preview_url: "http://p.example.org:8080", preview_domain: "p.example.org" };
  await client.heartbeat({ ...HEARTBEAT, ...good, advertise_addr: "[::1]:7430" });
  await client.heartbeat({ ...HEARTBEAT, ...good, advertise_addr: "https://w1.example.org:7430" });
  expect(heard.slice(-2)).toMatchObject([{ ...good, advertise_addr: "[::1]:7430" }, { advertise_addr: "https://w1.example.org:7430" }]);
});

it("brings what is told and asked of sandboxes, and refusals with their code", async () => {
  const told: unknown[] = [];
  const { client } = connected({
    report: async (report) => void told.push(report),
    processesChanged: async (changed) => void told.push(changed),
    portAccess: ({ port }) =>
      port === 80
        ? Promise.resolve({ access: "public" })
        : Promise.reject(new CaissonError("forbidden", "not its sandbox", { detail: { port } })),
  });
  await client.report(REF);
  await client.processesChanged({ ...REF, key_name: null });
  expect(told).toEqual([REF, { ...REF, key_name: null }]);
  expect(await client.portAccess({ ...REF, port: 80 })).toEqual({ access: "public" });
  await expect(client.portAccess({ ...REF, port: 81 })).rejects.toMatchObject({ code: "forbidden", detail: { port: 81 } });
});

it("brings a nonce and a renewed token over it, each no longer than one is", async () => {
  const shown: unknown[] = [];
  const { client, worker } = connected({ challenge: async () => ({ nonce: "n" }), renew: async (renewal) => void shown.push(renewal) });
  const renewal = { token: "t", proof: "over n" };
  expect(await client.challenge()).toEqual({ nonce: "n" });
  await client.renew(renewal);
  await worker.open("control.renew", { ...renewal, mood: "good" }, { noInput: true }).reply;
  expect(shown).toEqual([renewal, renewal]);
  for (const wrong of [{}, { token: "t" }, { ...renewal, token: "x".repeat(4097) }, { ...renewal, proof: 1 }])
    await expect(worker.open("control.renew", wrong, { noInput: true }).reply).rejects.toMatchObject({ code: "invalid_argument" });
});

it("goes by the scopes that the credential has now", async () => {
  const scopes = new Set<Scope>();
  const { client } = connected({ report: async () => undefined }, scopes);
  await expect(client.report(REF)).rejects.toMatchObject({ code: "forbidden" });
  scopes.add("worker:lease");
  await client.report(REF);
});

it("refuses what does not fit, methods that are none, and what the credential does not cover", async () => {
  const { client, worker } = connected({}, new Set<Scope>(["worker:lease"]));
  await expect(client.heartbeat(HEARTBEAT)).rejects.toMatchObject({ code: "forbidden", detail: { scope: "worker:heartbeat" } });
  await expect(worker.open("control.stop", {}, { noInput: true }).reply).rejects.toMatchObject({ code: "unsupported" });
  await expect(worker.open("control.report", { ...REF, sandbox_id: "x" }, { noInput: true }).reply).rejects.toMatchObject({
    code: "invalid_argument",
  });
});

it("takes no nonsense for an answer", async () => {
  const { client } = connected({ heartbeat: () => Promise.resolve({ ...REPLY, lease_ms: 0 }) });
  await expect(client.heartbeat(HEARTBEAT)).rejects.toMatchObject({ code: "protocol_error" });
});

it("bounds a call by its caller's deadline", async () => {
  const { client } = connected({ heartbeat: () => new Promise(() => undefined) });
  await expect(client.heartbeat(HEARTBEAT, { deadlineMs: 10 })).rejects.toMatchObject({ code: "deadline_exceeded" });
});

it("holds no bytes that a worker sends along, whatever it calls and however it floods", async () => {
  let asked = 0;
  const { worker } = connected({
    report: async () => void (asked += 1),
    heartbeat: () => new Promise(() => undefined),
  });
  await worker.ready;
  const calls = Array.from({ length: 512 }, (_, i) => worker.open(i % 2 === 0 ? "control.report" : "control.nothing", REF));
  for (const call of calls) call.write(Buffer.alloc(65_536)).catch(() => undefined);
  for (const call of calls) await expect(call.reply).rejects.toMatchObject({ code: "invalid_argument" });
  expect([asked, worker.openChannels]).toEqual([0, 0]);
});

it("works on so many calls of a worker at once and refuses the rest, which harms none of the others", async () => {
  const waiting: (() => void)[] = [];
  const { client } = connected({ report: () => new Promise((resolve) => waiting.push(resolve)), heartbeat: () => Promise.resolve(REPLY) });
  const calls = Array.from({ length: 400 }, () => client.report(REF));
  const answers = Promise.allSettled(calls);
  await expect(calls.at(-1)).rejects.toMatchObject({ code: "resource_exhausted" });
  expect(waiting).toHaveLength(256);
  for (const done of waiting) done();
  expect((await answers).filter(({ status }) => status === "fulfilled")).toHaveLength(256);
  expect(await client.heartbeat(HEARTBEAT)).toEqual(REPLY);
});
