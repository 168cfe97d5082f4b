import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Worker, WorkerInvitation } from "@caisson/contract";
import { freePort } from "@caisson/testkit";
import { afterAll, beforeAll, expect, it } from "vitest";
import { TestServer } from "../harness/server.ts";
import { ONLY_MOCK, TestWorker } from "../harness/worker.ts";

const CLI = new URL("../../packages/cli/bin/caisson.mjs", import.meta.url).pathname;

let server: TestServer;
let dir = "";
beforeAll(async () => {
  server = await TestServer.start({ ...ONLY_MOCK, CAISSON_SERVER__LOCAL_WORKER: "off" });
  dir = await mkdtemp(join(tmpdir(), "caisson-dialled-"));
});
afterAll(async () => {
  await server.destroyAll();
  await server[Symbol.asyncDispose]();
  await rm(dir, { recursive: true, force: true });
});

/** Whether a worker answers over HTTPS with the certificate that it joined with. */
async function answersWithOwn(address: string, dataDir: string): Promise<boolean> {
  const identity = JSON.parse(await readFile(join(dataDir, "joined", "worker", "identity", "identity.json"), "utf8")) as {
    readonly credentials: { readonly ca_certificate: string };
  };
  // It is for the worker's id, which the server looks for; a name or an address is not in it.
  const options = { ca: identity.credentials.ca_certificate, checkServerIdentity: () => undefined, agent: false as const };
  const asked = request(`${address}/live`, options).end();
  const [answer] = (await once(asked, "response")) as [IncomingMessage];
  answer.resume();
  return answer.statusCode === 200;
}

it.each([
  ["http", {}],
  ["https", { CAISSON_WORKER__TLS__OWN_CERTIFICATE: "true" }],
])(
  "a worker that registered is found again by being dialled over %s, and each side knows the other",
  { timeout: 400_000 },
  async (scheme, tls) => {
    const [id, dataDir] = [`worker-${scheme}`, join(dir, scheme)];
    const invited = await server.json<WorkerInvitation>("POST", "/workers", { id }, { headers: { "x-api-key": server.adminKey } });
    const env = { ...ONLY_MOCK, ...tls, CAISSON_DATA_DIR: dataDir, CAISSON_WORKER__LISTEN_ADDR: `127.0.0.1:${await freePort()}` };
    execFileSync(process.execPath, [CLI, "worker", "join", server.url, "--token", invited.token, "--no-start"], {
      env: { PATH: process.env["PATH"] ?? "", HOME: dir, CAISSON_DATA_DIR: dataDir },
    });
    // It says where it can be dialled.
    await using worker = await TestWorker.start(server, id, env);
    const { advertise_addr: address } = await server.json<Worker>("GET", `/workers/${id}`);
    expect(address).toBe(`${scheme === "https" ? "https://" : ""}${env.CAISSON_WORKER__LISTEN_ADDR}`);
    if (scheme === "https") {
      expect(await answersWithOwn(String(address), dataDir)).toBe(true);
      await expect(fetch(`http://${env.CAISSON_WORKER__LISTEN_ADDR}/live`)).rejects.toThrow("fetch failed");
    }
    await worker.end();
    // From now on it finds no control plane by itself.
    await rm(join(dataDir, "joined", "worker", "control-planes.json"), { force: true });
    await using dialled = await TestWorker.start(server, id, { ...env, CAISSON_WORKER__CONTROL_PLANE_URL: "http://127.0.0.1:1" });
    // Links that it dials itself are told by their address.
    await expect.poll(() => dialled.output).toMatch(/Connected to control plane/);
    expect(await server.json<Worker>("GET", `/workers/${id}`)).toMatchObject({ state: "online", credential: "certificate" });
    const sandbox = await server.json<{ id: string }>("POST", "/sandboxes", { worker_id: id });
    expect(sandbox).toMatchObject({ state: "running", worker_id: id });
    await server.json("DELETE", `/sandboxes/${sandbox.id}`).catch(() => undefined); // the mock may have none of it left
    expect(dialled.output).not.toContain("Refused");
  },
);
