import { X509Certificate } from "node:crypto";
import { request } from "node:https";
import { connect } from "node:tls";
import { systemClock, systemRandom, type WorkerCredentials } from "@caisson/contract";
import { RegisteredIdentities } from "@caisson/control";
import { issueCertificate, makeAuthority, makeSigningRequest, makeWorkerKey, readSigningRequest, signProof } from "@caisson/identity";
import { openSqlite, type Store } from "@caisson/store";
import { afterEach, beforeEach, expect, it } from "vitest";
import { startTestServer, type TestServer } from "../testing/test-server.ts";
import type { TlsOptions } from "./tls-options.ts";

const DAY_MS = 86_400_000;
let store: Store;
let identities: RegisteredIdentities;
let api: TestServer;
let ca = "";
let tls: TlsOptions;

async function serverTls(name: string): Promise<{ readonly tls: TlsOptions; readonly ca: string }> {
  const authority = await makeAuthority(name, Date.now());
  const key = makeWorkerKey();
  const { publicKey } = await readSigningRequest(await makeSigningRequest(key, name));
  const of = { publicKey, installation: name, workerId: name, now: Date.now(), ttlMs: DAY_MS, addresses: ["localhost", "127.0.0.1"] };
  const { certificate } = await issueCertificate(authority, of);
  return { tls: { key, cert: certificate, clientCa: [(await identities.keys.authority()).certificate] }, ca: authority.certificate };
}

beforeEach(async () => {
  store = await openSqlite({ path: ":memory:", clock: systemClock });
  const quiet = (): void => undefined;
  const logger = { debug: quiet, info: quiet, warn: quiet, error: quiet };
  const tokens = { shared: () => Promise.resolve(undefined), own: {} };
  identities = new RegisteredIdentities({ store, clock: systemClock, random: systemRandom, tokens, logger });
  ({ tls, ca } = await serverTls("server"));
  api = await startTestServer({ identities, tls });
});
afterEach(async () => {
  await api[Symbol.asyncDispose]();
  await store.close();
});

interface Answer {
  readonly status: number;
  readonly nonce: string;
  readonly body: Record<string, unknown>;
}

function post(path: string, json: object, headers: Record<string, string>, client: { cert?: string; key?: string } = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const options = { method: "POST", ca, agent: false as const, headers: { "content-type": "application/json", ...headers }, ...client };
    const asked = request(`${api.url}/api/v1${path}`, options, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (piece: string) => (text += piece));
      response.on("end", () =>
        resolve({
          status: response.statusCode ?? 0,
          nonce: String(response.headers["x-link-nonce"] ?? ""),
          body: JSON.parse(text) as Record<string, unknown>,
        }),
      );
    });
    asked.on("error", reject);
    asked.end(JSON.stringify(json));
  });
}

interface Joined {
  readonly key: string;
  readonly held: WorkerCredentials;
}

async function joined(id: string): Promise<Joined> {
  const key = makeWorkerKey();
  const { token } = await identities.invite({ id });
  const answer = await post("/workers/register", { token, csr: await makeSigningRequest(key, id) }, {});
  return { key, held: answer.body as unknown as WorkerCredentials };
}

async function verify({ key, held }: Joined, client: { cert?: string; key?: string }): Promise<Answer> {
  const headers = { authorization: `Bearer ${held.token}`, "x-worker-id": held.worker_id };
  const { nonce } = await post("/workers/verify", {}, headers, client);
  const proof = await signProof(key, { nonce, aud: held.issuer, wid: held.worker_id });
  return post("/workers/verify", {}, { ...headers, "x-worker-proof": proof }, client);
}

it("asks for a certificate, and takes only the one that the token is bound to", async () => {
  expect(api.url).toMatch(/^https:/);
  const a = await joined("worker-a");
  const b = await joined("worker-b");
  expect((await verify(a, { cert: a.held.certificate, key: a.key })).status).toBe(200);
  expect((await verify(a, {})).status).toBe(200);
  const posing = await verify(a, { cert: b.held.certificate, key: b.key });
  expect(posing).toMatchObject({ status: 401, body: { detail: { reason: "certificate_mismatch" } } });
  // Certificate and token of two renewals, one after the other, are of the same key.
  const csr = await makeSigningRequest(a.key, "worker-a");
  const next = await identities.refresh({ refresh_token: a.held.refresh_token, csr });
  expect((await verify({ key: a.key, held: next }, { cert: a.held.certificate, key: a.key })).status).toBe(200);
});

it("shows a new certificate to whoever connects from then on", async () => {
  const seen = (): Promise<string> =>
    new Promise((resolve, reject) => {
      const socket = connect({ host: "127.0.0.1", port: Number(new URL(api.url).port), rejectUnauthorized: false }, () => {
        resolve(socket.getPeerX509Certificate()?.fingerprint256 ?? "");
        socket.destroy();
      });
      socket.on("error", reject);
    });
  expect(await seen()).toBe(new X509Certificate(tls.cert).fingerprint256);
  const other = await serverTls("other");
  api.server.setTls(other.tls);
  expect(await seen()).toBe(new X509Certificate(other.tls.cert).fingerprint256);
  expect(() => api.server.setTls({ ...other.tls, key: tls.key })).toThrow(/key/);
  expect(await seen()).toBe(new X509Certificate(other.tls.cert).fingerprint256);
});

it("is nothing for who speaks HTTP without TLS", async () => {
  await expect(fetch(api.url.replace("https:", "http:"))).rejects.toThrow(/fetch failed/);
});
