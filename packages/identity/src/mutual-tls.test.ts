import { createServer, request, type RequestOptions } from "node:https";
import type { AddressInfo } from "node:net";
import type { TLSSocket } from "node:tls";
import { X509Certificate } from "node:crypto";
import { afterAll, beforeAll, expect, it } from "vitest";
import { issueCertificate, makeAuthority, type Authority } from "./authority.ts";
import { readSigningRequest, makeSigningRequest } from "./signing-request.ts";
import { certificateThumbprint, makeWorkerKey } from "./worker-key.ts";

const DAY_MS = 86_400_000;

interface Holder {
  readonly key: string;
  readonly certificate: string;
  readonly thumbprint: string;
}

async function holder(authority: Authority, workerId: string): Promise<Holder> {
  const key = makeWorkerKey();
  const { publicKey } = await readSigningRequest(await makeSigningRequest(key, workerId));
  const issued = await issueCertificate(authority, { publicKey, installation: "one", workerId, now: Date.now(), ttlMs: DAY_MS });
  return { key, ...issued };
}

let authority: Authority;
let server: ReturnType<typeof createServer>;
let worker: Holder;
let serverHolder: Holder;

beforeAll(async () => {
  authority = await makeAuthority("one", Date.now());
  serverHolder = await holder(authority, "server");
  worker = await holder(authority, "worker-a");
  const options = {
    key: serverHolder.key,
    cert: serverHolder.certificate,
    ca: authority.certificate,
    requestCert: true,
    rejectUnauthorized: false,
  };
  server = createServer(options, ({ socket }, response) => {
    const tls = socket as TLSSocket;
    const peer = tls.getPeerCertificate();
    response.end(
      JSON.stringify({ authorized: tls.authorized, thumbprint: peer.raw === undefined ? null : certificateThumbprint(peer.raw) }),
    );
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
});
afterAll(() => new Promise((resolve) => void server.close(resolve)));

function ask(options: RequestOptions): Promise<unknown> {
  const { port } = server.address() as AddressInfo;
  return new Promise((resolve, reject) => {
    request(
      { host: "127.0.0.1", port, ca: authority.certificate, checkServerIdentity: () => undefined, agent: false, ...options },
      (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (piece: string) => (text += piece));
        response.on("end", () => resolve(JSON.parse(text)));
      },
    )
      .on("error", reject)
      .end();
  });
}

it("knows a worker by its certificate, and lets others in as nobody", async () => {
  expect(await ask({ key: worker.key, cert: worker.certificate })).toEqual({ authorized: true, thumbprint: worker.thumbprint });
  expect(await ask({})).toEqual({ authorized: false, thumbprint: null });
  const stranger = await holder(await makeAuthority("two", Date.now()), "worker-a");
  expect(await ask({ key: stranger.key, cert: stranger.certificate })).toMatchObject({ authorized: false });
});

it("does not let a worker's certificate issue others", async () => {
  const forged = await issueCertificate(
    { key: worker.key, certificate: worker.certificate },
    {
      publicKey: new X509Certificate(worker.certificate).publicKey,
      installation: "one",
      workerId: "worker-b",
      now: Date.now(),
      ttlMs: DAY_MS,
    },
  );
  const chain = `${forged.certificate}\n${worker.certificate}`;
  expect(await ask({ key: worker.key, cert: chain })).toMatchObject({ authorized: false });
});

it("is trusted by a worker only where its authority is", async () => {
  const other = await makeAuthority("two", Date.now());
  await expect(ask({ ca: other.certificate })).rejects.toThrow(/certificate|issuer/);
});
