import {
  rotatedKeysSchema,
  systemClock,
  systemRandom,
  type VerifiedWorker,
  type WorkerCredentials,
  type WorkerInvitation,
} from "@caisson/contract";
import { RegisteredIdentities } from "@caisson/control";
import { makeSigningRequest, makeWorkerKey, signProof } from "@caisson/identity";
import { openSqlite, type Store } from "@caisson/store";
import { afterEach, beforeEach, expect, it } from "vitest";
import { ADMIN_KEY, API_KEY, startTestServer, type TestServer } from "../testing/test-server.ts";

let store: Store;
let api: TestServer;
beforeEach(async () => {
  store = await openSqlite({ path: ":memory:", clock: systemClock });
  const quiet = (): void => undefined;
  const logger = { debug: quiet, info: quiet, warn: quiet, error: quiet };
  const tokens = { shared: () => Promise.resolve("a-shared-token-for-staging"), own: {} };
  api = await startTestServer({
    identities: new RegisteredIdentities({ store, clock: systemClock, random: systemRandom, tokens, logger }),
    // Nobody may ask more often as time passes, however long a test takes.
    clock: { ...systemClock, monotonic: () => 0 },
  });
});
afterEach(async () => {
  await api[Symbol.asyncDispose]();
  await store.close();
});

const admin = { "x-api-key": ADMIN_KEY };
const post = (path: string, json: unknown, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(`${api.url}/api/v1${path}`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(json),
  });
const read = async <T>(response: Response): Promise<T> => (await response.json()) as T;

it("takes a machine from its invitation to its next credentials, without any key of the API", async () => {
  expect((await post("/workers", { id: "worker-a" })).status).toBe(401);
  expect((await post("/workers", { id: "worker-a" }, { "x-api-key": "wrong-wrong-wrong-wrong" })).status).toBe(401);
  const invited = await post("/workers", { id: "worker-a" }, admin);
  expect(invited.status).toBe(201);
  const { token } = await read<WorkerInvitation>(invited);

  const key = makeWorkerKey();
  const csr = await makeSigningRequest(key, "worker-a");
  const registered = await post("/workers/register", { token, csr });
  expect(registered.status).toBe(200);
  expect(registered.headers.get("cache-control")).toBe("no-store");
  const held = await read<WorkerCredentials>(registered);

  const headers = { authorization: `Bearer ${held.token}`, "x-worker-id": "worker-a" };
  const asked = await post("/workers/verify", {}, headers);
  expect(asked.status).toBe(401);
  const nonce = asked.headers.get("x-link-nonce") ?? "";
  const proof = await signProof(key, { nonce, aud: held.issuer, wid: "worker-a" });
  const shown = await post("/workers/verify", {}, { ...headers, "x-worker-proof": proof });
  expect(await read<VerifiedWorker>(shown)).toMatchObject({
    worker_id: "worker-a",
    credential: "certificate",
    expires_at: held.token_expires_at,
  });
  expect((await post("/workers/verify", {}, { ...headers, "x-worker-proof": proof })).status).toBe(401);

  const refreshed = await post("/workers/refresh", { refresh_token: held.refresh_token, csr });
  expect(refreshed.status).toBe(200);
  expect((await read<WorkerCredentials>(refreshed)).refresh_token).not.toBe(held.refresh_token);
  expect(await read(await post("/workers/register", { token, csr }))).toMatchObject({
    code: "unauthorized",
    detail: { reason: "invitation_used" },
  });
});

it("replaces the keys that sign for admins alone", async () => {
  for (const headers of [{}, { "x-api-key": API_KEY }])
    expect((await post("/workers/rotate-keys", { immediately: true }, headers)).status).not.toBe(200);
  expect(await store.clusterSecrets.get("signing_keys")).toBeUndefined();
  const successor = rotatedKeysSchema.parse(await read(await post("/workers/rotate-keys", {}, admin)));
  expect(Date.parse(successor.signs_at)).toBeGreaterThan(Date.now());
  const replaced = rotatedKeysSchema.parse(await read(await post("/workers/rotate-keys", { immediately: true }, admin)));
  expect(Date.parse(replaced.others_until)).toBeLessThanOrEqual(Date.now());
  expect(await read(await post("/workers/rotate-keys", { now: true }, admin))).toMatchObject({ code: "invalid_request" });
});

it("checks shared tokens, and says what is wrong", async () => {
  const shared = { authorization: "Bearer a-shared-token-for-staging", "x-worker-id": "worker-b" };
  expect(await read(await post("/workers/verify", {}, shared))).toMatchObject({
    worker_id: "worker-b",
    credential: "shared",
    expires_at: null,
  });
  for (const headers of [
    {},
    { authorization: "Basic abc" },
    { authorization: `Bearer ${"x".repeat(5000)}` },
    { ...shared, "x-worker-id": "A B" },
  ]) {
    const refused = await post("/workers/verify", {}, headers);
    expect(refused.status).toBe(401);
    expect(await read(refused)).toMatchObject({ code: "unauthorized" });
  }
});

it("refuses bodies that are too large or of another shape, and too many of them", async () => {
  const csr = "x".repeat(8192);
  expect((await post("/workers/register", { token: "x".repeat(16), csr, more: 1 })).status).toBe(400);
  expect((await post("/workers/register", { token: "x".repeat(16), csr: csr.repeat(3) })).status).toBe(413);
  expect((await post("/workers/refresh", { refresh_token: "short", csr })).status).toBe(400);
  const answers = await Promise.all(Array.from({ length: 60 }, () => post("/workers/register", { token: "x".repeat(16), csr })));
  const bounded = answers.find((answer) => answer.status === 429);
  expect(bounded?.headers.get("retry-after")).toBe("1");
  expect(answers.filter((answer) => answer.status === 400).length).toBeGreaterThanOrEqual(25);
});

it("takes no workers where it has no identities", async () => {
  const other = await startTestServer();
  const response = await fetch(`${other.url}/api/v1/workers`, {
    method: "POST",
    headers: { ...admin, "content-type": "application/json" },
    body: "{}",
  });
  expect(await read(response)).toMatchObject({ code: "unsupported" });
  await other[Symbol.asyncDispose]();
});
