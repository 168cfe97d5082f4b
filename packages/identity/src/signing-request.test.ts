import { generateKeyPairSync } from "node:crypto";
import { fuzzPlan, SeededRandom } from "@caisson/testkit";
import { expect, it } from "vitest";
import { makeSigningRequest, readSigningRequest } from "./signing-request.ts";
import { keyThumbprint, makeWorkerKey, readWorkerKey } from "./worker-key.ts";
import { loadX509 } from "./x509.ts";

const bad = { code: "invalid_request", errors: [{ path: "csr" }] };

it("gives the key of a good request, of both kinds", async () => {
  const ed25519 = generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  for (const key of [makeWorkerKey(), ed25519]) {
    const request = await readSigningRequest(await makeSigningRequest(key, "worker-a"));
    expect(request.thumbprint).toBe(await keyThumbprint(readWorkerKey(key)));
    expect(request.publicKey.type).toBe("public");
  }
});

it("refuses other keys, and a request that another key signed", async () => {
  for (const [kind, options] of [
    ["rsa", { modulusLength: 2048 }],
    ["ec", { namedCurve: "secp384r1" }],
    ["ec", { namedCurve: "secp256k1" }],
    ["x25519", {}],
  ] as const) {
    const { privateKey } = generateKeyPairSync(kind as "ec", options as { namedCurve: string });
    const pem = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
    await expect(makeSigningRequest(pem, "worker-a")).rejects.toMatchObject({ code: "invalid_request" });
  }
  const x509 = await loadX509();
  const algorithm = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256", publicExponent: new Uint8Array([1, 0, 1]), modulusLength: 2048 };
  const keys = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const rsa = await x509.Pkcs10CertificateRequestGenerator.create({ name: "CN=a", keys, signingAlgorithm: algorithm });
  await expect(readSigningRequest(rsa.toString("pem"))).rejects.toMatchObject(bad);

  const request = new x509.Pkcs10CertificateRequest(await makeSigningRequest(makeWorkerKey(), "worker-a"));
  const spoilt = Buffer.from(request.rawData);
  spoilt.writeUInt8(spoilt.readUInt8(spoilt.length - 1) ^ 1, spoilt.length - 1);
  const pem = `-----BEGIN CERTIFICATE REQUEST-----\n${spoilt.toString("base64")}\n-----END CERTIFICATE REQUEST-----`;
  await expect(readSigningRequest(pem)).rejects.toMatchObject(bad);
});

it("answers whatever it is given with invalid_request, in bounded time", async () => {
  const key = makeWorkerKey();
  const thumbprint = await keyThumbprint(readWorkerKey(key));
  const good = Buffer.from((await makeSigningRequest(key, "worker-a")).replaceAll(/-----[^-]+-----|\s/g, ""), "base64");
  const { seed, cases } = fuzzPlan(1000);
  const random = new SeededRandom(seed);
  for (let i = 0; i < cases; i++) {
    const bytes = Buffer.from(good);
    for (let n = random.int(1, 5); n > 0; n--) bytes[random.int(0, bytes.length - 1)] = random.int(0, 255);
    const cut = random.chance(0.2) ? bytes.subarray(0, random.int(0, bytes.length)) : bytes;
    const pem = `-----BEGIN CERTIFICATE REQUEST-----\n${cut.toString("base64")}\n-----END CERTIFICATE REQUEST-----`;
    // A change that changes nothing, or only what is not signed, leaves the key that was shown to be held.
    const outcome = await readSigningRequest(pem).catch((error: unknown) => error);
    expect(outcome, `seed ${seed}, case ${i}`).toMatchObject(outcome instanceof Error ? bad : { thumbprint });
  }
  for (const text of ["", "x", "-----BEGIN CERTIFICATE REQUEST-----", "A".repeat(100_000)])
    await expect(readSigningRequest(text)).rejects.toMatchObject(bad);
  const nested = `-----BEGIN CERTIFICATE REQUEST-----\n${Buffer.alloc(6000, Buffer.from([0x30, 0x80]))
    .toString("base64")
    .slice(0, 8000)}\n-----END CERTIFICATE REQUEST-----`;
  const began = performance.now();
  await expect(readSigningRequest(nested)).rejects.toMatchObject(bad);
  expect(performance.now() - began).toBeLessThan(1000);
});
