import { createHmac } from "node:crypto";
import { glob, readFile } from "node:fs/promises";
import { request } from "node:http";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import type { Access, PortToken, Sandbox } from "@caisson/contract";
import { afterAll, beforeAll, expect, it } from "vitest";
import { freePort } from "@caisson/testkit";
import { startDirectFleet, type DirectFleet } from "../harness/direct.ts";
import { TestWorker } from "../harness/worker.ts";

let first: DirectFleet;
/** Another worker of the same installation. */
let other: TestWorker;
let otherUrl: string;

beforeAll(async () => {
  first = await startDirectFleet();
  const address = `127.0.0.1:${await freePort()}`;
  otherUrl = `http://${address}`;
  other = await TestWorker.start(first.fleet.server, "worker-b", {
    CAISSON_WORKER__LISTEN_ADDR: address,
    CAISSON_WORKER__PUBLIC_URL: otherUrl,
  });
});
afterAll(async () => {
  await other?.[Symbol.asyncDispose]();
  await first?.[Symbol.asyncDispose]();
});

const create = ({ fleet }: DirectFleet) => fleet.server.json<Sandbox>("POST", "/sandboxes", { worker_id: "worker-a" });
const access = ({ fleet }: DirectFleet, id: string, body: object = {}) =>
  fleet.server.json<Access>("POST", `/sandboxes/${id}/access`, body);

async function at(url: string, method: string, path: string, headers: Record<string, string>, json?: object): Promise<[number, string]> {
  const response = await fetch(`${url}/api/v1${path}`, {
    method,
    headers: { ...headers, ...(json === undefined ? {} : { "content-type": "application/json" }) },
    ...(json === undefined ? {} : { body: JSON.stringify(json) }),
  });
  const text = await response.text();
  return [response.status, response.ok ? text : (JSON.parse(text) as { code: string }).code];
}
const exec = (url: string, id: string, token: string) =>
  at(url, "POST", `/sandboxes/${id}/exec`, { authorization: `Bearer ${token}` }, { command: "id" });

it("a token opens its one sandbox on its one worker, and nothing after the sandbox's end", async () => {
  const [a, b] = [await create(first), await create(first)];
  const { token, url } = await access(first, a.id);
  if (url === null) throw new Error("no address");
  expect((await exec(url, a.id, token))[0]).toBe(200);
  expect(await exec(url, b.id, token)).toEqual([401, "unauthorized"]);
  expect(await exec(otherUrl, a.id, token)).toEqual([401, "unauthorized"]);
  // The server that signed it takes no such token for a key.
  expect((await exec(first.fleet.server.url, a.id, token))[0]).toBe(401);
  await first.fleet.server.fetch("DELETE", `/sandboxes/${a.id}`);
  expect(await exec(url, a.id, token)).toEqual([409, "lease_lost"]);
  await first.fleet.server.fetch("DELETE", `/sandboxes/${b.id}`);
});

it("keys, links to ports and forged tokens open nothing at a worker", async () => {
  const { id } = await create(first);
  const { server, worker } = first.fleet;
  const url = first.workerUrl;
  for (const key of [server.apiKey, server.adminKey]) {
    expect((await exec(url, id, key))[0]).toBe(401);
    for (const header of ["x-api-key", "x-admin-api-key"])
      expect((await at(url, "POST", `/sandboxes/${id}/exec`, { [header]: key }, { command: "id" }))[0]).toBe(401);
  }
  const link = await server.json<PortToken>("POST", `/sandboxes/${id}/ports/8000/token`, {});
  expect((await exec(url, id, link.token))[0]).toBe(401);
  const { token } = await server.json<{ token: string }>("POST", `/sandboxes/${id}/tokens`, { action: "exec" });
  expect((await exec(url, id, token))[0]).toBe(401);
  expect((await at(url, "GET", `/sandboxes/${id}/exec/ws?token=${token}`, {}))[0]).toBe(401);
  // What everybody who has a worker knows: the public keys. HMAC with one of them is no signature.
  let text = "";
  for await (const file of glob("**/control-keys.json", { cwd: worker.dataDir })) text = await readFile(join(worker.dataDir, file), "utf8");
  const kept = JSON.parse(text) as {
    keys: { kid: string; x: string; d?: string }[];
  };
  expect(kept.keys.length).toBeGreaterThan(0);
  expect(kept.keys.filter(({ d }) => d !== undefined)).toEqual([]);
  const good = (await access(first, id)).token.split(".");
  for (const { kid, x } of kept.keys) {
    for (const secret of [Buffer.from(x, "base64url"), Buffer.from(x)]) {
      const head = Buffer.from(JSON.stringify({ alg: "HS256", typ: "caisson-access+jwt", kid })).toString("base64url");
      const signed = `${head}.${good[1]}`;
      expect((await exec(url, id, `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`))[0]).toBe(401);
    }
  }
  await server.fetch("DELETE", `/sandboxes/${id}`);
});

it("a client's token opens no link: nobody becomes a control plane by it", async () => {
  const { id } = await create(first);
  const { token } = await access(first, id);
  const { hostname, port } = new URL(first.workerUrl);
  for (const nonce of [undefined, "n".repeat(32)]) {
    const asked = request({
      host: hostname,
      port,
      path: "/api/v1/link",
      headers: {
        connection: "Upgrade",
        upgrade: "caisson-link",
        authorization: `Bearer ${token}`,
        ...(nonce === undefined ? {} : { "x-link-nonce": nonce }),
      },
    }).end();
    const status = await new Promise<number | undefined>((resolve, reject) => {
      asked.once("upgrade", () => resolve(101));
      asked.once("response", (response) => resolve(response.statusCode));
      asked.once("error", reject);
    });
    asked.destroy();
    expect(status).toBe(401);
  }
  await first.fleet.server.fetch("DELETE", `/sandboxes/${id}`);
});

it("a worker serves nothing that needs an admin, nor anything but its sandboxes, whoever asks", async () => {
  const { id } = await create(first);
  const { token } = await access(first, id);
  const { adminKey } = first.fleet.server;
  for (const headers of [{ authorization: `Bearer ${token}` }, { "x-admin-api-key": adminKey }, {}] as Record<string, string>[])
    for (const [method, path] of [
      ["GET", "/sandboxes"],
      ["DELETE", `/sandboxes/${id}`],
      ["POST", `/sandboxes/${id}/access`],
      ["POST", `/sandboxes/${id}/files/sign`],
      ["DELETE", "/workers/worker-a"],
      ["DELETE", "/admin/workers/local"],
      ["POST", "/workers"],
      ["GET", "/images"],
      ["GET", "/webhooks"],
      ["GET", "/events"],
    ] as const)
      expect(await at(first.workerUrl, method, path, headers, method === "POST" ? {} : undefined)).toEqual([404, "not_on_worker"]);
  await first.fleet.server.fetch("DELETE", `/sandboxes/${id}`);
});

it("a sandbox reaches its worker's port by no address of the machine", async () => {
  const { id } = await create(first);
  const { token, url } = await access(first, id);
  if (url === null) throw new Error("no address");
  const { port } = new URL(url);
  const addresses = Object.values(networkInterfaces())
    .flatMap((all) => all ?? [])
    .map(({ address, family }) => (family === "IPv6" ? `[${address.split("%")[0]}]` : address));
  for (const address of new Set(["127.0.0.1", ...addresses])) {
    const host = address.replace(/^\[|\]$/g, "");
    const program = `import socket\ntry:\n  socket.create_connection((${JSON.stringify(host)}, ${port}), 2)\n  print("open")\nexcept OSError:\n  print("shut")`;
    const ran = await at(
      url,
      "POST",
      `/sandboxes/${id}/exec`,
      { authorization: `Bearer ${token}` },
      { command: "python3", args: ["-c", program] },
    );
    expect([address, (JSON.parse(ran[1]) as { stdout: string }).stdout]).toEqual([address, "shut\n"]);
  }
  await first.fleet.server.fetch("DELETE", `/sandboxes/${id}`);
});
