import { getEventListeners, once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemRandom } from "@caisson/contract";
import { makeWorkerKey } from "@caisson/identity";
import { VirtualClock } from "@caisson/testkit";
import { afterEach, beforeEach, expect, it } from "vitest";
import { IdentityFiles, type JoinedIdentity } from "./joined-identity.ts";
import { KnownControlPlanes } from "./known-control-planes.ts";
import { RegisteredSource } from "./registered-source.ts";

let dir = "";
let server: Server;
/** What the control plane answers; not at all while it is undefined. */
let answer: { readonly status: number; readonly body: unknown } | undefined;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "caisson-identity-"));
  server = createServer((_request, response) => {
    if (answer !== undefined) response.writeHead(answer.status, { "content-type": "application/json" }).end(JSON.stringify(answer.body));
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
});
afterEach(async () => {
  server.closeAllConnections();
  server.close();
  await rm(dir, { recursive: true });
});

const NOW = new VirtualClock().now();
const AT = new Date(NOW + 3_600_000).toISOString();
const IDENTITY: JoinedIdentity = {
  version: 1,
  control_plane_url: "http://127.0.0.1:1",
  key: makeWorkerKey(),
  credentials: {
    worker_id: "worker-a",
    token: "token",
    token_expires_at: AT,
    refresh_token: "refresh",
    refresh_expires_at: AT,
    certificate: "",
    certificate_expires_at: AT,
    ca_certificate: "",
    scopes: [],
    issuer: "caisson:test",
    keys: { keys: [] },
  },
  obtained_at: NOW,
};

async function source(): Promise<RegisteredSource> {
  const clock = new VirtualClock();
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return RegisteredSource.open({
    dir,
    identity: { ...IDENTITY, control_plane_url: url },
    known: await KnownControlPlanes.open({ dir, workerId: "worker-a", clock, random: systemRandom }),
    caCertificates: [],
    urls: () => [],
    clock,
    log: () => undefined,
  });
}

it("leaves nothing on the signal of who was refused, which a worker that is refused for good shows again and again", async () => {
  using registered = await source();
  const { signal } = new AbortController();
  answer = { status: 401, body: { code: "unauthorized", message: "It was revoked." } };
  expect(await registered.refused(signal)).toBe("gone");
  answer = { status: 503, body: { code: "database_unavailable", message: "It is away." } };
  await expect(registered.refused(signal)).rejects.toMatchObject({ code: "database_unavailable" });
  expect(getEventListeners(signal, "abort")).toEqual([]);
});

it.each(["answer", "prove"] as const)("gets another token for one that is refused and was shown by %s last", async (how) => {
  using registered = await source();
  const { joinedPath } = new IdentityFiles(dir);
  // As it tries to dial, too.
  await registered.headers(undefined);
  for (const token of ["second", "third"]) {
    // What is on disk is taken without a control plane.
    await writeFile(joinedPath, JSON.stringify({ ...IDENTITY, credentials: { ...IDENTITY.credentials, token } }));
    expect(await registered.refused()).toBe("refreshed");
    expect(Object.values(await registered[how]("nonce"))).toContain(token);
  }
});

it("is waited for no longer than its caller wants", async () => {
  using registered = await source();
  answer = undefined;
  const stop = new AbortController();
  const asked = once(server, "request");
  const refused = registered.refused(stop.signal);
  await asked;
  stop.abort(new Error("enough"));
  await expect(refused).rejects.toThrow("enough");
  await expect(registered.refused(stop.signal)).rejects.toThrow("enough");
});
