import { execFile, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { request } from "node:https";
import { createInterface } from "node:readline";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Worker, WorkerInvitation } from "@caisson/contract";
import { issueCertificate, makeAuthority, makeSigningRequest, makeWorkerKey, readSigningRequest } from "@caisson/identity";
import { afterEach, beforeEach, expect, it } from "vitest";
import { ONLY_MOCK } from "../harness/worker.ts";

const CLI = new URL("../../packages/cli/bin/caisson.mjs", import.meta.url).pathname;
const DAY_MS = 86_400_000;

let dir = "";
let ca = "";
const children: ChildProcess[] = [];
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "caisson-worker-tls-"));
  const authority = await makeAuthority("tests", Date.now());
  const key = makeWorkerKey();
  const { publicKey } = await readSigningRequest(await makeSigningRequest(key, "server"));
  const of = { publicKey, installation: "tests", workerId: "server", now: Date.now(), ttlMs: DAY_MS, addresses: ["127.0.0.1"] };
  ca = authority.certificate;
  await writeFile(join(dir, "ca.pem"), ca);
  await writeFile(join(dir, "key.pem"), key);
  await writeFile(join(dir, "cert.pem"), (await issueCertificate(authority, of)).certificate);
});
afterEach(async () => {
  for (const child of children.splice(0).toReversed()) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    const gone = once(child, "exit");
    child.kill("SIGTERM");
    await gone;
  }
  await rm(dir, { recursive: true, force: true });
});

/** Starts the command line; returns the first JSON line that it prints, and all that it writes to standard error. */
async function start(
  name: string,
  args: readonly string[],
  env: Record<string, string>,
): Promise<{ first: Record<string, unknown>; log: () => string }> {
  const child = spawn(process.execPath, [CLI, ...args, "--json"], {
    env: {
      PATH: process.env["PATH"] ?? "",
      HOME: dir,
      CAISSON_DATA_DIR: join(dir, name),
      CAISSON_LOGGING__FORMAT: "json",
      ...ONLY_MOCK,
      ...env,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  children.push(child);
  let log = "";
  child.stderr.on("data", (piece: Buffer) => (log += piece.toString()));
  // What is printed may have many lines; JSON ends where it parses.
  let text = "";
  for await (const line of createInterface({ input: child.stdout })) {
    text += `${line}\n`;
    try {
      const first = JSON.parse(text) as Record<string, unknown>;
      child.stdout.resume();
      return { first, log: () => log };
    } catch {
      // goes on
    }
  }
  throw new Error(`${name} ended: ${log}`);
}

/** Runs a command to its end. */
function ended(args: readonly string[], env: Record<string, string>): Promise<{ readonly stdout: string; readonly stderr: string }> {
  return new Promise((resolve) => {
    const options = { env: { PATH: process.env["PATH"] ?? "", HOME: dir, ...env }, timeout: 150_000 };
    execFile(process.execPath, [CLI, ...args], options, (_error, stdout, stderr) => resolve({ stdout, stderr }));
  });
}

function call<T>(url: string, method: string, path: string, key: string, json?: object): Promise<T> {
  return new Promise((resolve, reject) => {
    const options = { method, ca, agent: false as const, headers: { "x-api-key": key, "content-type": "application/json" } };
    const asked = request(`${url}/api/v1${path}`, options, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (piece: string) => (text += piece));
      response.on("end", () => resolve(JSON.parse(text) as T));
    });
    asked.on("error", reject);
    asked.end(json === undefined ? undefined : JSON.stringify(json));
  });
}

it("joins over TLS, links with its certificate, and takes sandboxes", { timeout: 240_000 }, async () => {
  const server = await start("server", ["serve"], {
    CAISSON_SERVER__PORT: "0",
    CAISSON_SERVER__LOCAL_WORKER: "off",
    CAISSON_SERVER__TLS__CERT_FILE: join(dir, "cert.pem"),
    CAISSON_SERVER__TLS__KEY_FILE: join(dir, "key.pem"),
  });
  const url = String(server.first["url"]);
  expect(url).toMatch(/^https:/);
  const keys = JSON.parse(await readFile(join(dir, "server", "credentials.json"), "utf8")) as { admin_api_key: string };
  const invitation = await call<WorkerInvitation>(url, "POST", "/workers", keys.admin_api_key, { id: "worker-a" });

  const worker = await start("worker", ["worker", "join", url, "--token", invitation.token], {
    CAISSON_WORKER__CA_FILE: join(dir, "ca.pem"),
  });
  expect(worker.first).toMatchObject({ worker_id: "worker-a", control_plane_url: url });
  const seen = (): Promise<Worker> => call<Worker>(url, "GET", "/workers/worker-a", keys.admin_api_key);
  await expect
    .poll(async () => ({ ...(await seen()) }), { timeout: 120_000 })
    .toMatchObject({ state: "online", credential: "certificate", providers: [expect.objectContaining({ available: true })] });
  const sandbox = await call<object>(url, "POST", "/sandboxes", keys.admin_api_key, {});
  expect(sandbox).toMatchObject({ state: "running", worker_id: "worker-a" });
  expect(server.log()).not.toContain("certificate_mismatch");

  // Revoked, and invited again while it runs: it goes on by itself.
  await call(url, "POST", "/workers/worker-a/revoke", keys.admin_api_key, {});
  const next = await call<WorkerInvitation>(url, "POST", "/workers", keys.admin_api_key, { id: "worker-a" });
  await writeFile(join(dir, "token"), next.token, { mode: 0o600 });
  const trusting = { CAISSON_DATA_DIR: join(dir, "worker"), CAISSON_WORKER__CA_FILE: join(dir, "ca.pem") };
  expect(await ended(["worker", "join", url, "--token-file", join(dir, "token")], trusting)).toMatchObject({
    stdout: expect.stringContaining("The worker that runs here goes on with that.") as string,
    stderr: "",
  });
  const create = (): Promise<object> => call<object>(url, "POST", "/sandboxes", keys.admin_api_key, { worker_id: "worker-a" });
  await expect.poll(create).toMatchObject({ state: "running", worker_id: "worker-a" });

  const { worker: checks } = JSON.parse((await ended(["doctor", "--json"], trusting)).stdout) as {
    worker: readonly { readonly name: string; readonly state: string }[];
  };
  expect(checks).toMatchObject([{ state: "ok" }, { name: `control plane ${url}`, state: "ok" }, { state: "ok" }, { state: "ok" }]);
  const admin = { CAISSON_DATA_DIR: join(dir, "server") };
  expect((await ended(["workers", "ls"], admin)).stderr).toContain("NODE_EXTRA_CA_CERTS");
  expect((await ended(["workers", "ls", "-q"], { ...admin, NODE_EXTRA_CA_CERTS: join(dir, "ca.pem") })).stdout).toBe("worker-a\n");
});
