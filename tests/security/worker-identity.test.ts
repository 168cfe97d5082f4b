import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemRandom } from "@caisson/contract";
import type { PresentedCredential, WorkerIdentity } from "@caisson/control";
import { issueCertificate, makeAuthority, makeSigningRequest, makeWorkerKey, readSigningRequest } from "@caisson/identity";
import { VirtualClock } from "@caisson/testkit";
import { IdentityFiles, joinInstallation, KnownControlPlanes, RegisteredSource } from "@caisson/worker";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { IdentityServer } from "../harness/identity-server.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

let server: IdentityServer;
const dirs: string[] = [];
const sources: RegisteredSource[] = [];
beforeEach(async () => {
  server = await IdentityServer.open();
});
afterEach(async () => {
  for (const source of sources.splice(0)) source[Symbol.dispose]();
  await server[Symbol.asyncDispose]();
  for (const dir of dirs.splice(0)) await rm(dir, { recursive: true });
});

async function newDir(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "caisson-worker-identity-"));
  dirs.push(dir);
  return dir;
}

interface Machine {
  readonly dir: string;
  readonly clock: VirtualClock;
}

/** A machine whose clock is wrong by so much. */
async function machine(skewMs = 0): Promise<Machine> {
  return { dir: await newDir(), clock: new VirtualClock(server.now + skewMs) };
}

async function join_({ dir, clock }: Machine, token: string, of: { readonly workerId?: string; readonly ca?: readonly string[] } = {}) {
  const { ca = [], workerId } = of;
  return joinInstallation({ dir, url: server.url, token, caCertificates: ca, clock, ...(workerId === undefined ? {} : { workerId }) });
}

/** What a worker's process does at its start: reads what is on disk. */
async function start({ dir, clock }: Machine, urls: readonly string[] = [], ca: readonly string[] = []): Promise<RegisteredSource> {
  const identity = await new IdentityFiles(dir).joined();
  if (identity === undefined) throw new Error("The machine has not joined.");
  const known = await KnownControlPlanes.open({ dir, workerId: identity.credentials.worker_id, clock, random: systemRandom });
  const log = (): void => undefined;
  const source = await RegisteredSource.open({ dir, identity, known, caCertificates: ca, urls: () => urls, clock, log });
  sources.push(source);
  return source;
}

/** What a worker shows on a link. */
async function shows(source: RegisteredSource): Promise<PresentedCredential> {
  const headers = await source.headers(await server.identities.challenge());
  return {
    token: headers["authorization"]?.slice("Bearer ".length) ?? "",
    workerId: headers["x-worker-id"] ?? "",
    proof: headers["x-worker-proof"] ?? "",
  };
}

const link = async (source: RegisteredSource): Promise<WorkerIdentity> => server.identities.verify(await shows(source));
const because = (reason: string): object => ({ code: "unauthorized", detail: { reason } });
const reported = async (workerId: string): Promise<unknown[]> =>
  (await server.store.events.after(0, 1000, { types: new Set(["worker.refused"]) }))
    .filter((event) => event.resource_id === workerId)
    .map((event) => event.data["reason"]);

async function joined(id: string, skewMs = 0): Promise<{ readonly at: Machine; readonly source: RegisteredSource }> {
  const at = await machine(skewMs);
  await join_(at, (await server.identities.invite({ id })).token);
  return { at, source: await start(at) };
}

describe("a machine that joins", () => {
  it("keeps its key to itself, and everything readable by its owner only", async () => {
    const { at, source } = await joined("worker-a");
    expect(await link(source)).toMatchObject({ workerId: "worker-a", credential: "certificate" });
    const file = join(at.dir, "identity.json");
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect((await stat(join(at.dir, "control-keys.json"))).mode & 0o777).toBe(0o600);
    const { key } = JSON.parse(await readFile(file, "utf8")) as { key: string };
    expect(key).toContain("PRIVATE KEY");
    expect(JSON.stringify([await source.headers("nonce"), await source.answer("nonce")])).not.toContain(key.slice(40, 80));
  });

  it("gets its credentials although the answer was lost, and although it died then", async () => {
    const at = await machine();
    const { token } = await server.identities.invite({});
    server.faults = ["lose_request", "lose_answer", "lose_answer"];
    for (let i = 0; i < 3; i++)
      await expect(join_(at, token, { workerId: "worker-a" })).rejects.toMatchObject({ code: "control_unavailable" });
    await join_(at, token, { workerId: "worker-a" });
    expect(await link(await start(at))).toMatchObject({ workerId: "worker-a" });
    await expect(join_(await machine(), token, { workerId: "worker-a" })).rejects.toMatchObject(because("invitation_used"));
    expect(await reported("worker-a")).toEqual(["invitation_used"]);
  });

  it("does not lose the identity it had to an invitation that is not good", async () => {
    const { at } = await joined("worker-a");
    await expect(join_(at, "cwi_no-such-invitation")).rejects.toMatchObject(because("unknown_token"));
    expect(await link(await start(at))).toMatchObject({ workerId: "worker-a" });
  });

  it("says so when its file is damaged", async () => {
    const { at } = await joined("worker-a");
    await writeFile(join(at.dir, "identity.json"), "{}");
    await expect(start(at)).rejects.toMatchObject({ code: "invalid_request" });
  });
});

describe("renewal", () => {
  it("comes at half the token's life, whatever the machine's clock says", async () => {
    for (const [id, skew] of [
      ["worker-a", -HOUR_MS],
      ["worker-b", HOUR_MS],
      ["worker-c", 400 * DAY_MS],
    ] as const) {
      const { at, source } = await joined(id, skew);
      const first = (await shows(source)).token;
      const renewed = new Promise<void>((resolve) => (server.onRequest = () => resolve()));
      await at.clock.advance(3 * DAY_MS);
      expect((await shows(source)).token).toBe(first);
      await at.clock.advance(DAY_MS);
      await renewed;
      await expect.poll(async () => (await shows(source)).token).not.toBe(first);
      expect(await link(source)).toMatchObject({ workerId: id });
      source[Symbol.dispose]();
    }
  });

  it("never locks a worker out, wherever answers are lost or its process dies", async () => {
    const { at } = await joined("worker-a");
    for (let round = 0; round < 40; round++) {
      const source = await start(at);
      if (round % 3 === 0) expect(await link(source)).toMatchObject({ workerId: "worker-a" });
      server.faults = round % 2 === 0 ? ["lose_answer"] : round % 5 === 0 ? ["lose_request"] : [];
      await source.headers(undefined);
      await source.refused().catch(() => undefined);
      if (round % 4 === 0) await link(source);
      source[Symbol.dispose]();
      server.advance(12 * HOUR_MS);
      await at.clock.advance(12 * HOUR_MS);
    }
    server.faults = [];
    const source = await start(at);
    await source.headers(undefined);
    expect(await source.refused()).toBe("refreshed");
    expect(await link(source)).toMatchObject({ workerId: "worker-a" });
    expect(await reported("worker-a")).toEqual([]);
  });

  it("is asked once by however many links, of any control plane that answers", async () => {
    const { at } = await joined("worker-a");
    const source = await start(at, ["http://127.0.0.1:1"]);
    await link(source);
    let asked = 0;
    server.onRequest = () => asked++;
    expect(await Promise.all([1, 2, 3].map(() => source.refused()))).toEqual(["refreshed", "refreshed", "refreshed"]);
    expect(asked).toBe(1);
  });

  it("ends for good when the worker was revoked, and goes on when it joined anew meanwhile", async () => {
    const { at, source } = await joined("worker-a");
    const identity = await link(source);
    await server.identities.revoke("worker-a");
    expect(await server.identities.stillGood(identity)).toBe(false);
    await expect(link(source)).rejects.toMatchObject(because("revoked"));
    expect(await source.refused()).toBe("gone");
    await join_(at, (await server.identities.invite({ id: "worker-a" })).token);
    expect(await source.refused()).toBe("refreshed");
    expect(await link(source)).toMatchObject({ workerId: "worker-a" });
  });
});

describe("a thief", () => {
  it("with a copy of the files is found out at the worker's next renewal, or at his own", async () => {
    const { at, source } = await joined("worker-a");
    await link(source);
    // He renews behind the worker's back and uses what he got; his files are his own from now on.
    const elsewhere = await newDir();
    await writeFile(join(elsewhere, "identity.json"), await readFile(join(at.dir, "identity.json")));
    const thief = await start({ dir: elsewhere, clock: new VirtualClock(server.now) });
    await thief.headers(undefined);
    expect(await thief.refused()).toBe("refreshed");
    const stolen = await link(thief);
    await source.headers(undefined);
    expect(await source.refused()).toBe("gone");
    expect(await reported("worker-a")).toContain("refresh_reused");
    expect(await server.identities.stillGood(stolen)).toBe(false);
    await expect(link(thief)).rejects.toMatchObject(because("revoked"));
  });

  it("with the token of one worker opens nothing of another, and nothing at all without its key", async () => {
    const { source: a } = await joined("worker-a");
    const { source: b } = await joined("worker-b");
    const token = (await shows(a)).token;
    const own = await shows(b);
    await expect(server.identities.verify({ token, workerId: "worker-b", proof: own.proof ?? "" })).rejects.toMatchObject(
      because("wrong_worker"),
    );
    await expect(server.identities.verify({ token, workerId: "worker-a", proof: own.proof ?? "" })).rejects.toMatchObject(
      because("key_mismatch"),
    );
    await expect(server.identities.verify({ token, workerId: "worker-a" })).rejects.toMatchObject(because("proof_missing"));
    expect(await reported("worker-a")).toEqual(["wrong_worker", "key_mismatch"]);
    expect(await reported("worker-b")).toEqual([]);
  });

  it("who listens can use nothing a second time", async () => {
    const { source } = await joined("worker-a");
    const shown = await shows(source);
    await server.identities.verify(shown);
    await expect(server.identities.verify(shown)).rejects.toMatchObject(because("nonce_used"));
    expect(await reported("worker-a")).toEqual(["nonce_used"]);
  });

  it("who poses as a control plane is not let in by a worker that listens", async () => {
    const { source } = await joined("worker-a");
    const { nonce, headers } = await server.identities.introduce("worker-a", source.challenge());
    const token = headers["authorization"]?.slice("Bearer ".length) ?? "";
    expect((await source.admit(token)).scopes.has("worker:spawn")).toBe(true);
    await expect(source.admit(token)).rejects.toMatchObject(because("nonce_invalid"));
    const answer = await source.answer(nonce);
    const shown = { workerId: answer["x-worker-id"], proof: answer["x-worker-proof"], token: answer["x-worker-token"] };
    expect(await server.identities.verifyAnswer("worker-a", nonce, shown)).toMatchObject({ workerId: "worker-a" });
    await expect(server.identities.verifyAnswer("worker-a", "another", shown)).rejects.toMatchObject(because("nonce_invalid"));

    const other = await IdentityServer.open();
    const posing = await other.identities.introduce("worker-a", source.challenge());
    await expect(source.admit(posing.headers["authorization"]?.slice(7) ?? "")).rejects.toMatchObject(because("unknown_key"));
    // A worker's token opens no other worker.
    const { source: b } = await joined("worker-b");
    await expect(source.admit((await shows(b)).token)).rejects.toMatchObject(because("wrong_type"));
    await other[Symbol.asyncDispose]();
  });
});

it("joins and renews over TLS, trusting only the authority that it was told of", async () => {
  const authority = await makeAuthority("tests", Date.now());
  const key = makeWorkerKey();
  const { publicKey } = await readSigningRequest(await makeSigningRequest(key, "server"));
  const { certificate } = await issueCertificate(authority, {
    publicKey,
    installation: "tests",
    workerId: "server",
    now: Date.now(),
    ttlMs: DAY_MS,
    addresses: ["127.0.0.1"],
  });
  await server[Symbol.asyncDispose]();
  server = await IdentityServer.open({ key, cert: certificate });
  const at = await machine();
  const { token } = await server.identities.invite({ id: "worker-a" });
  await expect(join_(at, token)).rejects.toMatchObject({ code: "control_unavailable" });
  await join_(at, token, { ca: [authority.certificate] });
  const source = await start(at, [], [authority.certificate]);
  await source.headers(undefined);
  expect(await source.refused()).toBe("refreshed");
  expect(await link(source)).toMatchObject({ workerId: "worker-a" });
});
