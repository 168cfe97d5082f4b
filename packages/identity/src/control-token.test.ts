import { SignJWT, importJWK } from "jose";
import { beforeAll, expect, it } from "vitest";
import { signControlToken, verifyControlToken } from "./control-token.ts";
import { makeSigningKey, publicKeySet, SigningKeySet, type SigningKey } from "./signing-key.ts";

const NOW = Date.UTC(2030, 0, 1);
let key: SigningKey;
let keys: SigningKeySet;

beforeAll(async () => {
  key = await makeSigningKey(NOW);
  keys = new SigningKeySet(publicKeySet([key]));
});

const sign = (of: Partial<Parameters<typeof signControlToken>[1]> = {}): Promise<string> =>
  signControlToken(key, { issuer: "caisson:one", workerId: "worker-a", nonce: "n1", now: NOW, ...of });
const check = (token: string, of: Partial<Parameters<typeof verifyControlToken>[2]> = {}): Promise<unknown> =>
  verifyControlToken(token, keys, { issuer: "caisson:one", workerId: "worker-a", takeNonce: (nonce) => nonce === "n1", ...of });
const because = (reason: string): object => ({ code: "unauthorized", detail: { reason } });

it("lets a control plane in that signed this worker's nonce, whatever the clocks say", async () => {
  const admitted = await check(await sign());
  expect(admitted).toMatchObject({ issuer: "caisson:one" });
  await expect(check(await sign({ now: NOW - 400 * 86_400_000 }))).resolves.toBeDefined();
  await expect(check(await sign(), { issuer: undefined })).resolves.toBeDefined();
});

it("lets nobody else in", async () => {
  await expect(check(await sign({ workerId: "worker-b" }))).rejects.toMatchObject(because("wrong_audience"));
  await expect(check(await sign({ issuer: "caisson:two" }))).rejects.toMatchObject(because("other_issuer"));
  await expect(check(await sign({ nonce: "n2" }))).rejects.toMatchObject(because("nonce_invalid"));
  const other = await makeSigningKey(NOW);
  const foreign = await signControlToken(other, { issuer: "caisson:one", workerId: "worker-a", nonce: "n1", now: NOW });
  await expect(check(foreign)).rejects.toMatchObject(because("unknown_key"));
  const posing = await new SignJWT({ nonce: "n1", scopes: [] })
    .setProtectedHeader({ alg: "EdDSA", kid: key.kid, typ: "caisson-control+jwt" })
    .setIssuer("caisson:one")
    .setAudience("worker:worker-a")
    .setSubject("control")
    .setExpirationTime("1h")
    .sign(await importJWK(other.jwk, "EdDSA"));
  await expect(check(posing)).rejects.toMatchObject(because("bad_signature"));
  for (const bad of ["", "a", "a.b.c", "....", "x".repeat(5000)]) await expect(check(bad)).rejects.toMatchObject(because("malformed"));
  const none = new SigningKeySet({ keys: [] });
  const options = { issuer: undefined, workerId: "worker-a", takeNonce: () => true };
  await expect(verifyControlToken(await sign(), none, options)).rejects.toMatchObject(because("unknown_key"));
});
