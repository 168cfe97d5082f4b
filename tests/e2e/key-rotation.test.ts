import { execFile, execFileSync } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Access, Event, RotatedKeys, Worker, WorkerCredentials, WorkerInvitation } from "@caisson/contract";
import { signProof } from "@caisson/identity";
import { freePort } from "@caisson/testkit";
import { afterAll, beforeAll, expect, it } from "vitest";
import { TestServer } from "../harness/server.ts";
import { ONLY_MOCK, TestWorker } from "../harness/worker.ts";

const CLI = new URL("../../packages/cli/bin/caisson.mjs", import.meta.url).pathname;

let server: TestServer;
let dir = "";
beforeAll(async () => {
  server = await TestServer.start({ ...ONLY_MOCK, CAISSON_SERVER__LOCAL_WORKER: "off" });
  dir = await mkdtemp(join(tmpdir(), "caisson-keys-"));
});
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await rm(dir, { recursive: true, force: true });
});

interface Identity {
  readonly key: string;
  readonly credentials: WorkerCredentials;
}

/** Has a machine join; the configuration of its worker, which listens. */
async function joined(id: string): Promise<Record<string, string>> {
  const dataDir = join(dir, id);
  const { token } = await server.json<WorkerInvitation>("POST", "/workers", { id }, { headers: { "x-api-key": server.adminKey } });
  execFileSync(process.execPath, [CLI, "worker", "join", server.url, "--token", token, "--no-start"], {
    env: { PATH: process.env["PATH"] ?? "", HOME: dir, CAISSON_DATA_DIR: dataDir },
  });
  return {
    ...ONLY_MOCK,
    CAISSON_DATA_DIR: dataDir,
    CAISSON_WORKER__HEARTBEAT_INTERVAL: "1s",
    CAISSON_WORKER__LISTEN_ADDR: `127.0.0.1:${await freePort()}`,
  };
}

const identityOf = async (id: string): Promise<Identity> =>
  JSON.parse(await readFile(join(dir, id, "joined", "worker", "identity", "identity.json"), "utf8")) as Identity;

/** What the server says of a worker's token that is shown with a proof of its key: it, or why not. */
async function shown({ key, credentials }: Identity): Promise<unknown> {
  const { worker_id: id, token, issuer } = credentials;
  const verify = (proof: Record<string, string>): Promise<Response> =>
    fetch(`${server.url}/api/v1/workers/verify`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${token}`, "x-worker-id": id, ...proof },
      body: "{}",
    });
  const nonce = (await verify({})).headers.get("x-link-nonce") ?? "";
  const answer = (await (await verify({ "x-worker-proof": await signProof(key, { nonce, aud: issuer, wid: id }) })).json()) as {
    readonly worker_id?: string;
    readonly detail?: { readonly reason: string };
  };
  return answer.worker_id ?? answer.detail?.reason;
}

async function rotate(...options: readonly string[]): Promise<string> {
  const env = { ...server.cliEnv, CAISSON_URL: server.url };
  return (await promisify(execFile)(process.execPath, [CLI, "workers", "rotate-keys", ...options], { env })).stdout;
}

const echo = async (sandbox: string): Promise<unknown> =>
  (await server.json<{ stdout?: string }>("POST", `/sandboxes/${sandbox}/exec`, { command: "echo", args: ["here"] })).stdout;

it("workers go on by themselves when all keys are replaced, and what was signed before is void", { timeout: 240_000 }, async () => {
  const dials = await joined("dials");
  const publicUrl = `http://${dials["CAISSON_WORKER__LISTEN_ADDR"]}`;
  await using _dials = await TestWorker.start(server, "dials", { ...dials, CAISSON_WORKER__PUBLIC_URL: publicUrl });
  // Reached by its certificate, and only because it is dialled: it finds no control plane by itself.
  const dialled = { ...(await joined("dialled")), CAISSON_WORKER__TLS__OWN_CERTIFICATE: "true" };
  const said = await TestWorker.start(server, "dialled", dialled);
  await said.end();
  await rm(join(dir, "dialled", "joined", "worker", "control-planes.json"), { force: true });
  await using _dialled = await TestWorker.start(server, "dialled", { ...dialled, CAISSON_WORKER__CONTROL_PLANE_URL: "http://127.0.0.1:1" });

  const ids = ["dials", "dialled"];
  const sandboxes = await Promise.all(
    ids.map(async (id) => (await server.json<{ id: string }>("POST", "/sandboxes", { worker_id: id })).id),
  );
  const [near = ""] = sandboxes;
  for (const sandbox of sandboxes) expect(await echo(sandbox)).toBe("here\n");
  const before = await Promise.all(ids.map(identityOf));
  expect(await Promise.all(before.map(shown))).toEqual(ids);
  const access = await server.json<Access>("POST", `/sandboxes/${near}/access`, {});
  const atWorker = (): Promise<number> =>
    fetch(`${publicUrl}/api/v1/sandboxes/${near}/stats`, { headers: { authorization: `Bearer ${access.token}` } }).then(
      ({ status }) => status,
    );
  const signed = await server.json<{ url: string }>("POST", `/sandboxes/${near}/files/sign`, { path: "/etc/hostname", action: "read" });
  const atServer = (): Promise<number> => fetch(signed.url).then(({ status }) => status);
  expect(await atWorker()).not.toBe(401);
  expect(await atServer()).not.toBe(401);

  const told = await rotate("--now");
  expect(told).toMatch(/signs now\. Void/);
  expect(told).toContain("secrets of webhooks");

  expect(await Promise.all(before.map(shown))).toEqual(["unknown_key", "unknown_key"]);
  expect(await atServer()).toBe(401);
  for (const [at, id] of ids.entries()) {
    await expect.poll(async () => (await identityOf(id)).credentials.token, { timeout: 60_000 }).not.toBe(before[at]?.credentials.token);
    const now = await identityOf(id);
    expect(now.key).toBe(before[at]?.key);
    expect(now.credentials.ca_certificate).not.toBe(before[at]?.credentials.ca_certificate);
    // The old token is refused for good, the new one is what its link goes by.
    await expect.poll(() => echo(sandboxes[at] ?? "").catch(() => undefined), { timeout: 60_000 }).toBe("here\n");
    expect(await server.json<Worker>("GET", `/workers/${id}`)).toMatchObject({ state: "online", credential: "certificate" });
    expect(await shown(now)).toBe(id);
  }
  expect(await Promise.all(before.map(shown))).toEqual(["unknown_key", "unknown_key"]);
  expect(await atWorker()).toBe(401);
  const again = await server.json<Access>("POST", `/sandboxes/${near}/access`, {});
  const reached = await fetch(`${publicUrl}/api/v1/sandboxes/${near}/stats`, { headers: { authorization: `Bearer ${again.token}` } });
  expect(reached.status).not.toBe(401);
  const { items } = await server.json<{ items: Event[] }>("GET", "/events?type=installation.*,worker.refused");
  expect(items).toMatchObject([{ type: "installation.keys_rotated", data: { immediately: true } }]);

  // In its own time, nothing is void.
  const successor = JSON.parse(await rotate("--json")) as RotatedKeys;
  expect(Date.parse(successor.signs_at)).toBeGreaterThan(Date.now());
  expect(await rotate()).toContain(successor.key_id);
  expect(await shown(await identityOf("dials"))).toBe("dials");
  for (const sandbox of sandboxes) await server.json("DELETE", `/sandboxes/${sandbox}`);
});
