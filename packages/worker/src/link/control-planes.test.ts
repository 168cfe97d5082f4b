import { createServer } from "node:http";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CaissonError, LINK_HEADERS, SCOPES, systemClock, systemRandom, type Heartbeat, type HeartbeatReply } from "@caisson/contract";
import { dialLink } from "@caisson/worker-link";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { WorkerCredentialSource } from "../identity/worker-credential-source.ts";
import { TestControlPlane } from "../testing/test-control-plane.ts";
import { ControlPlanes, type ControlNews } from "./control-planes.ts";
import { LinkListener } from "./link-listener.ts";

const TOKEN = "worker-token-0123456789";

let dir: string;
let planes: ControlPlanes;
let token: string;
let refusals: number;
let onRefused: () => "refreshed" | "gone";
let news: ControlNews[];
let answers: HeartbeatReply[];
let wake: (() => void)[];
let sequence: number;
const all: TestControlPlane[] = [];

let renewed: number;

const credentials: WorkerCredentialSource = {
  workerId: "w1",
  kind: "token",
  renewals: {
    get count() {
      return renewed;
    },
    prove: async (nonce) => ({ token: `token ${renewed}`, proof: `over ${nonce}` }),
  },
  headers: async () => ({ authorization: `Bearer ${token}`, [LINK_HEADERS.workerId]: "w1" }),
  clientCertificate: () => undefined,
  caCertificates: () => [],
  refused: async () => {
    refusals += 1;
    return onRefused();
  },
  challenge: () => "worker-nonce",
  admit: async (shown) => {
    if (shown !== "control-token") throw new CaissonError("unauthorized", "Not one of ours.");
    return { scopes: new Set(SCOPES) };
  },
  answer: async (nonce) => ({ [LINK_HEADERS.workerId]: "w1", [LINK_HEADERS.proof]: `over ${nonce}` }),
  learnKeys: async () => undefined,
};

function open(firstUrl: string, heartbeatMs = 10_000): Promise<void> {
  const amounts = { vcpus: 1, memory_mb: 1, disk_mb: 1, sandboxes: 0 };
  const said = { session: "run", version: "0", now: 0, draining: false, labels: {}, capacity: amounts, used: amounts, images: [] };
  const nowhere = { preview_domain: null, preview_url: null, public_url: null, advertise_addr: null };
  const heartbeat = async (full: boolean): Promise<Heartbeat> => {
    sequence += 1;
    const what = full ? { providers_digest: "d", providers: [] } : { providers_digest: "d" };
    return { ...said, ...nowhere, ...what, sequence, on_control_loss: "run" };
  };
  planes = new ControlPlanes({
    dataDir: dir,
    firstUrl,
    heartbeatMs,
    credentials,
    heartbeat,
    serve: () => (call) => call.reply({ worker_id: "w1", version: "0", preview_domain: null, providers: [] }, { fin: true }),
    answered: (reply) => {
      answers.push(reply);
      for (const one of wake.splice(0)) one();
    },
    news: (told) => {
      news.push(told);
      for (const one of wake.splice(0)) one();
    },
    clock: systemClock,
    random: systemRandom,
    log: () => undefined,
  });
  return planes.open();
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise<void>((resolve) => wake.push(resolve));
}

async function plane(id: string): Promise<TestControlPlane> {
  const made = await TestControlPlane.start(id);
  all.push(made);
  return made;
}

const named = (...planesNamed: TestControlPlane[]): Partial<HeartbeatReply> => ({
  control_planes: planesNamed.map(({ id, url }) => ({ id, url })),
});

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "caisson-links-"));
  await mkdir(join(dir, "worker"));
  [token, refusals, onRefused, news, answers, wake, sequence, renewed] = [TOKEN, 0, () => "gone", [], [], [], 0, 0];
});
afterEach(async () => {
  await planes.close();
  for (const made of all.splice(0)) await made[Symbol.asyncDispose]();
  await rm(dir, { recursive: true, force: true });
});

it("links to every control plane that one names, remembers them, and comes back to any of them", async () => {
  const [a, b, c] = [await plane("a"), await plane("b"), await plane("c")];
  for (const one of [a, b, c]) one.reply = named(a, b, c);
  await open(a.url);
  await Promise.all([a, b, c].map((one) => one.until(() => one.heartbeats.length > 0)));
  expect((await b.host("w1").describe()).workerId).toBe("w1");
  await until(() => planes.up.length === 3);
  // It is written behind the back of the heartbeat that told it.
  const read = async (): Promise<string> => readFile(join(dir, "worker", "control-planes.json"), "utf8");
  const kept = JSON.parse(await vi.waitFor(read, { timeout: 10_000 })) as { urls: string[] };
  expect(kept.urls).toEqual([a.url, b.url, c.url].sort());
  await planes.close();
  await a.crash();
  await open(a.url);
  await b.until(() => b.links.length === 2);
});

it("has one link to a control plane, whatever names it has", async () => {
  const a = await plane("a");
  const other = a.url.replace("127.0.0.1", "localhost");
  a.reply = { control_planes: [{ id: "a", url: a.url }] };
  await writeFile(join(dir, "worker", "control-planes.json"), JSON.stringify({ version: 1, urls: [other, a.url] }));
  await open(other, 20);
  const up = (): number => a.links.filter((link) => link.reason === undefined).length;
  // Both names are dialled at once, and the link that comes second is let go.
  await a.until(() => a.links.length === 2 && up() === 1);
  const settled = a.heartbeats.length;
  await a.until(() => a.heartbeats.length > settled + 15);
  expect([a.links.length, up()]).toEqual([2, 1]);
});

it("comes back to a control plane that crashed, within seconds, and says once why it cannot", async () => {
  const a = await plane("a");
  a.reply = named(a);
  await open(a.url);
  await until(() => news.length === 1);
  await a.crash();
  await until(() => news.filter((one) => one.kind === "trouble").length === 2);
  const began = performance.now();
  await a.listen();
  await a.until(() => a.links.length === 2);
  expect(performance.now() - began).toBeLessThan(6_000);
  await until(() => news.at(-1)?.kind === "up");
  // That the link broke, and that nothing listens there; not a line for every attempt.
  expect(news.map((one) => one.kind)).toEqual(["up", "trouble", "trouble", "up"]);
});

it("forgets one that is dead when a live one no longer names it", async () => {
  const [a, b] = [await plane("a"), await plane("b")];
  for (const one of [a, b]) one.reply = named(a, b);
  await open(a.url, 20);
  await b.until(() => b.heartbeats.length > 0);
  a.reply = named(a);
  await b.crash();
  const before = answers.length;
  await until(() => answers.length > before + 3);
  await b.listen();
  await a.until(() => a.heartbeats.length > before + 40);
  expect(b.links).toHaveLength(1);
  await expect.poll(() => readFile(join(dir, "worker", "control-planes.json"), "utf8")).not.toContain(b.url);
});

it("gets another credential when it is refused, and links anew", async () => {
  const a = await plane("a");
  token = "an-old-token-0123456789";
  onRefused = () => {
    token = TOKEN;
    return "refreshed";
  };
  await open(a.url);
  await a.until(() => a.heartbeats.length > 0);
  expect(refusals).toBe(1);
  // Its heartbeat is refused later on: the same again.
  a.token = "a-newer-token-0123456789";
  onRefused = () => {
    token = "a-newer-token-0123456789";
    return "refreshed";
  };
  a.reply = new CaissonError("unauthorized", "It was revoked.");
  planes.beatNow();
  await a.until(() => a.links.length === 2);
  expect(refusals).toBe(2);
});

it("shows a renewed token once on each link that is up, and on none that was opened with it", async () => {
  const [a, b] = [await plane("a"), await plane("b")];
  for (const one of [a, b]) one.reply = named(a, b);
  await open(a.url, 20);
  await Promise.all([a, b].map((one) => one.until(() => one.heartbeats.length > 1)));
  expect([a.challenges, b.challenges]).toEqual([0, 0]);
  renewed = 1;
  await Promise.all([a, b].map((one) => one.until(() => one.renewals.length > 0)));
  const after = a.heartbeats.length;
  await a.until(() => a.heartbeats.length > after + 5);
  for (const one of [a, b]) expect([one.renewals, one.links.length]).toEqual([[{ token: "token 1", proof: "over nonce 1" }], 1]);
  await b.crash();
  await b.listen();
  await b.until(() => b.links.length === 2 && b.heartbeats.length > after + 10);
  expect(b.challenges).toBe(1);
});

it.each([
  ["an older control plane knows of no renewals", "unsupported", 1],
  ["a control plane refuses the renewed token", "unauthorized", 1],
  ["a control plane cannot look at the renewed token now", "database_unavailable", 5],
] as const)("keeps its link when %s", async (_what, code, times) => {
  const a = await plane("a");
  a.renewal = new CaissonError(code, "No.");
  await open(a.url, 20);
  await a.until(() => a.heartbeats.length > 1);
  renewed = 1;
  await a.until(() => a.challenges >= times);
  const after = a.heartbeats.length;
  await a.until(() => a.heartbeats.length > after + 5);
  expect([a.links.length, a.renewals]).toEqual([1, []]);
  if (times === 1) expect(a.challenges).toBe(1);
  a.renewal = undefined;
  // The next token is another matter.
  renewed = 2;
  await a.until(() => a.renewals.length > 0);
  expect(a.renewals[0]?.token).toBe("token 2");
});

it("says that it is refused for good, and tries on", async () => {
  const a = await plane("a");
  token = "a-wrong-token-0123456789";
  await open(a.url);
  await until(() => news.length > 0);
  expect(news).toMatchObject([{ kind: "trouble", forGood: true, error: { code: "unauthorized" } }]);
});

it("takes an answer for what it is worth: a database that is down ends no link", async () => {
  const a = await plane("a");
  a.reply = new CaissonError("database_unavailable", "It is down.");
  await open(a.url, 20);
  await a.until(() => a.heartbeats.length > 3);
  expect(a.links).toHaveLength(1);
  expect(planes.up).toEqual([]);
  a.reply = {};
  await until(() => planes.up.length === 1);
});

it("sends all of a heartbeat first and when it is asked, and the rest of the time what changes", async () => {
  const a = await plane("a");
  await open(a.url, 20);
  await a.until(() => a.heartbeats.length === 2);
  a.reply = { send_providers: true };
  await a.until(() => a.heartbeats.length === 4);
  a.reply = {};
  await a.until(() => a.heartbeats.length === 6);
  expect(a.heartbeats.map((one) => one.sequence)).toEqual([...a.heartbeats.keys()].map((i) => i + 1));
  expect(a.heartbeats[0]).toHaveProperty("providers");
  expect(a.heartbeats[1]).not.toHaveProperty("providers");
  expect(a.heartbeats.filter((one) => one.providers !== undefined).length).toBeGreaterThanOrEqual(2);
});

it("sends another heartbeat when one is wanted while the last is under way, and tells when that one was answered", async () => {
  const a = await plane("a");
  await open(a.url, 3_600_000);
  await a.until(() => a.heartbeats.length === 1);
  planes.beatNow();
  await a.until(() => a.heartbeats.length === 2);
  await until(() => answers.length === 2);
  planes.beatNow();
  await a.until(() => a.heartbeats.length === 3);
  await planes.told(AbortSignal.timeout(30_000));
  expect([a.heartbeats.length, answers.length]).toEqual([4, 4]);
});

it("lets a control plane in that dials, both showing who they are, and asks nobody twice", async () => {
  const a = await plane("a");
  const listener = new LinkListener({
    credentials,
    accept: (link) => planes.accept(link),
    log: () => undefined,
  });
  const server = createServer();
  server.on(
    "upgrade",
    (message, socket, head) => void (listener.takes(message) ? listener.upgrade(message, socket, head) : socket.destroy()),
  );
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const signal = AbortSignal.timeout(30_000);
  const dial = (headers: Record<string, string>): ReturnType<typeof dialLink> =>
    dialLink({ url, headers, unreachable: "worker_unavailable", signal });
  // Its configured control plane cannot be reached.
  await open("http://127.0.0.1:1");
  expect(await dial({})).toMatchObject({ kind: "refused", status: 401, nonce: "worker-nonce" });
  const wrong = { authorization: "Bearer other", [LINK_HEADERS.nonce]: "n", [LINK_HEADERS.controlPlane]: "a" };
  expect(await dial(wrong)).toMatchObject({ kind: "refused", status: 401 });
  expect(await dial({ authorization: "Bearer control-token" })).toMatchObject({ kind: "refused", status: 401 });
  const dialled = await dial({ ...wrong, authorization: "Bearer control-token" });
  if (dialled.kind === "refused") throw dialled.error;
  expect(dialled.shown).toMatchObject({ workerId: "w1", proof: "over n" });
  a.reply = named(a);
  a.take(dialled.stream, "dialler");
  await a.until(() => a.heartbeats.length > 0);
  expect((await a.host("w1").describe()).workerId).toBe("w1");
  await until(() => planes.up.length === 1);
  renewed = 1;
  planes.beatNow();
  await a.until(() => a.renewals.length > 0);
  expect(a.renewals).toEqual([{ token: "token 1", proof: "over nonce 1" }]);
  // It is named, but there is a link with it.
  expect(a.asked).toBe(0);
  // What it showed is refused later on: it gets another credential without having to dial.
  const asked = refusals;
  const refused = new Promise<void>((resolve) => {
    onRefused = () => {
      resolve();
      return "refreshed";
    };
  });
  a.links.at(-1)?.close(new CaissonError("unauthorized", "The keys were replaced."));
  await refused;
  expect(refusals).toBe(asked + 1);
  server.close();
});
