import { accessSchema, DATA_SCOPES } from "@caisson/contract";
import { AccessTokens, publicKeySet, SigningKeySet } from "@caisson/identity";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { startTestServer, testSigningKey, type TestServer } from "../testing/test-server.ts";

let server: TestServer;
let id: string;

beforeAll(async () => {
  server = await startTestServer();
});
beforeEach(async () => {
  ({ id } = await server.operations.create({}));
});
afterAll(() => server[Symbol.asyncDispose]());

const ask = (json: object = {}) => server.call("POST", `/sandboxes/${id}/access`, { json });

/** What a worker makes of a token. */
async function accessOn(workerId: string, token: string) {
  const keys = new SigningKeySet(publicKeySet([await testSigningKey()]));
  return new AccessTokens({ workerId, keys: () => keys, clock: { now: Date.now } }).verify(token, id);
}

it("lets into one sandbox on its worker, for five minutes", async () => {
  server.operations.reachedAt = { publicUrl: "https://w.example.org", previewDomain: null, previewUrl: null };
  const response = await ask();
  expect(response.status).toBe(201);
  const access = accessSchema.parse(await response.json());
  expect(access).toMatchObject({ url: "https://w.example.org", scopes: [...DATA_SCOPES] });
  const life = Date.parse(access.expires_at) - Date.now();
  expect(life).toBeGreaterThan(295_000);
  expect(life).toBeLessThan(302_000);
  expect(await accessOn("local", access.token)).toMatchObject({
    workerId: "local",
    sandboxId: id,
    epoch: 1,
    keyName: "api",
    scopes: [...DATA_SCOPES],
    expiresAt: Date.parse(access.expires_at),
  });
  await expect(accessOn("another", access.token)).rejects.toMatchObject({ code: "unauthorized" });
});

it("tells no address where the worker cannot be reached, and none of ended sandboxes", async () => {
  server.operations.reachedAt = { publicUrl: null, previewDomain: null, previewUrl: null };
  expect(await (await ask()).json()).toMatchObject({ url: null });
  await server.operations.destroy(id);
  expect((await ask()).status).toBe(410);
});

it("holds for an hour at most, and no longer than the sandbox", async () => {
  expect((await ask({ ttl: "61m" })).status).toBe(400);
  expect((await ask({ ttl: "1h" })).status).toBe(201);
  await server.operations.extend(id, 10_000);
  const { expires_at } = accessSchema.parse(await (await ask({ ttl: "1h" })).json());
  expect(Date.parse(expires_at) - Date.now()).toBeLessThan(12_000);
});

it("needs a key, and takes no token for one", async () => {
  expect((await fetch(`${server.url}/api/v1/sandboxes/${id}/access`, { method: "POST" })).status).toBe(401);
  const { token } = accessSchema.parse(await (await ask()).json());
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  expect((await fetch(`${server.url}/api/v1/sandboxes/${id}/access`, { method: "POST", headers, body: "{}" })).status).toBe(401);
  expect((await fetch(`${server.url}/api/v1/sandboxes/${id}`, { headers: { authorization: `Bearer ${token}` } })).status).toBe(401);
});
