import { SignJWT } from "jose";
import { beforeAll, describe, expect, it } from "vitest";
import { AccessTokens, signAccess, type SandboxAccess } from "./access-tokens.ts";
import { CheckedGrants, SignedGrants } from "./grant-tokens.ts";
import type { Grant } from "./grant.ts";
import { keepLegacyKey, LegacyGrants } from "./legacy-grants.ts";
import { makeSigningKey, publicKeySet, SigningKeySet, type SigningKey } from "./signing-key.ts";
import { signToken } from "./signed-token.ts";

const NOW = 1_800_000_000_000;
const OLD_KEY = new Uint8Array(32).fill(7);
const GRANT: Grant = { action: "file.read", sandboxId: "sb1", expiresAt: NOW + 60_000, path: "/a b", user: "root" };
const ACCESS: SandboxAccess = {
  workerId: "worker-a",
  sandboxId: "sb1",
  epoch: 3,
  scopes: ["worker:exec", "worker:files"],
  keyName: "api",
  expiresAt: NOW + 60_000,
};
const REFUSED = { code: "unauthorized" };

let key: SigningKey;
let other: SigningKey;
let now = NOW;
const clock = { now: () => now };

beforeAll(async () => {
  [key, other] = await Promise.all([makeSigningKey(NOW), makeSigningKey(NOW)]);
});

const setOf = (...keys: SigningKey[]): (() => SigningKeySet) => {
  const set = new SigningKeySet(publicKeySet(keys));
  return () => set;
};

/** A token whose body was changed and whose signature was kept. */
function altered(token: string, change: Record<string, unknown>): string {
  const [head, body, mark] = token.split(".") as [string, string, string];
  const claims = { ...JSON.parse(Buffer.from(body, "base64url").toString()), ...change } as unknown;
  return [head, Buffer.from(JSON.stringify(claims)).toString("base64url"), mark].join(".");
}

/** A token signed with HMAC, whose key is what everybody knows: the public key. */
function confused(signed: SigningKey, type: string, claims: Record<string, unknown>): Promise<string> {
  return new SignJWT(claims).setProtectedHeader({ alg: "HS256", kid: signed.kid, typ: type }).sign(Buffer.from(signed.jwk.x, "base64url"));
}

describe("grants", () => {
  it("are given back as they were signed, by whoever has the public keys", async () => {
    const grants = new CheckedGrants({ keys: setOf(key, other), clock });
    expect(await grants.verify(await new SignedGrants(key).sign(GRANT), "file.read", "sb1")).toEqual(GRANT);
    expect(await grants.verify(await new SignedGrants(other).sign(GRANT), "file.read", "sb1")).toEqual(GRANT);
  });

  it("open nothing else, nowhere else, and not for longer", async () => {
    const token = await new SignedGrants(key).sign(GRANT);
    const grants = new CheckedGrants({ keys: setOf(key), clock });
    await expect(grants.verify(token, "file.write", "sb1")).rejects.toMatchObject({ ...REFUSED, detail: { reason: "wrong_audience" } });
    await expect(grants.verify(token, "file.read", "sb2")).rejects.toMatchObject(REFUSED);
    await expect(new CheckedGrants({ keys: setOf(other), clock }).verify(token, "file.read", "sb1")).rejects.toMatchObject({
      detail: { reason: "unknown_key" },
    });
    now = NOW + 60_000;
    await expect(grants.verify(token, "file.read", "sb1")).rejects.toMatchObject({ ...REFUSED, detail: { reason: "expired" } });
    now = NOW;
  });

  it("that were altered, or signed otherwise, are refused", async () => {
    const token = await new SignedGrants(key).sign(GRANT);
    const none = Buffer.from(JSON.stringify({ alg: "none", kid: key.kid, typ: "caisson-grant+jwt" })).toString("base64url");
    const claims = { aud: "file.read", sub: "sb1", exp: NOW / 1000 + 60 };
    const bad = [
      "",
      "x",
      altered(token, { path: "/etc/shadow" }),
      `${none}.${token.split(".")[1]}.`,
      await confused(key, "caisson-grant+jwt", claims),
      await signToken(key, "caisson-grant+jwt", { ...claims, admin: true }),
      await signToken(key, "caisson-control+jwt", claims),
      await signToken(key, "caisson-grant+jwt", { aud: "file.read", sub: "sb1" }),
      token.slice(0, -2),
      "x".repeat(5_000),
    ];
    for (const legacy of [undefined, new LegacyGrants(keepLegacyKey(OLD_KEY, NOW))]) {
      const grants = new CheckedGrants({ keys: setOf(key), clock, ...(legacy === undefined ? {} : { legacy }) });
      for (const one of bad) await expect(grants.verify(one, "file.read", "sb1")).rejects.toMatchObject(REFUSED);
    }
  });
});

describe("grants of old", () => {
  const old = (exp: number): Promise<string> =>
    new SignJWT({ path: "/a" })
      .setProtectedHeader({ alg: "HS256" })
      .setAudience("file.read")
      .setSubject("sb1")
      .setExpirationTime(exp / 1000)
      .sign(OLD_KEY);
  const WEEK = 604_800_000;

  it("hold until their time while their key was taken over, and none is good for longer than the longest was", async () => {
    const token = await old(NOW + WEEK);
    const legacy = new LegacyGrants(keepLegacyKey(OLD_KEY, NOW));
    const grants = new CheckedGrants({ keys: setOf(key), clock, legacy });
    expect(await grants.verify(token, "file.read", "sb1")).toMatchObject({ path: "/a" });
    await expect(grants.verify(token, "file.write", "sb1")).rejects.toMatchObject(REFUSED);
    await expect(grants.verify(token, "file.read", "sb2")).rejects.toMatchObject(REFUSED);
    await expect(grants.verify(await old(NOW + WEEK + 1_000), "file.read", "sb1")).rejects.toMatchObject(REFUSED);
    await expect(new CheckedGrants({ keys: setOf(key), clock }).verify(token, "file.read", "sb1")).rejects.toMatchObject(REFUSED);
    now = NOW + WEEK;
    await expect(grants.verify(token, "file.read", "sb1")).rejects.toMatchObject(REFUSED);
    now = NOW;
  });

  it("are never signed with the new key's public half", async () => {
    const legacy = new LegacyGrants(keepLegacyKey(OLD_KEY, NOW));
    const grants = new CheckedGrants({ keys: setOf(key), clock, legacy });
    const forged = await new SignJWT({ path: "/a" })
      .setProtectedHeader({ alg: "HS256" })
      .setAudience("file.read")
      .setSubject("sb1")
      .setExpirationTime(NOW / 1000 + 60)
      .sign(Buffer.from(key.jwk.x, "base64url"));
    await expect(grants.verify(forged, "file.read", "sb1")).rejects.toMatchObject({ detail: { reason: "bad_signature" } });
  });
});

describe("access", () => {
  const tokensOf = (workerId: string, keys = setOf(key)): AccessTokens => new AccessTokens({ workerId, keys, clock });

  it("is given back as it was signed, again and again, until its time", async () => {
    const tokens = tokensOf("worker-a");
    const token = await signAccess(key, ACCESS);
    expect(await tokens.verify(token, "sb1")).toEqual(ACCESS);
    expect(await tokens.verify(token, "sb1")).toEqual(ACCESS);
    now = NOW + 60_000;
    await expect(tokens.verify(token, "sb1")).rejects.toMatchObject({ ...REFUSED, detail: { reason: "expired" } });
    now = NOW;
  });

  it("is for one sandbox on one worker, also when it was checked before", async () => {
    const token = await signAccess(key, ACCESS);
    const tokens = tokensOf("worker-a");
    await tokens.verify(token, "sb1");
    await expect(tokens.verify(token, "sb2")).rejects.toMatchObject(REFUSED);
    await expect(tokensOf("worker-b").verify(token, "sb1")).rejects.toMatchObject({ ...REFUSED, detail: { reason: "wrong_audience" } });
  });

  it("ends with the key that signed it", async () => {
    let keys = setOf(key)();
    const tokens = tokensOf("worker-a", () => keys);
    const token = await signAccess(key, ACCESS);
    await tokens.verify(token, "sb1");
    keys = setOf(other)();
    await expect(tokens.verify(token, "sb1")).rejects.toMatchObject({ detail: { reason: "unknown_key" } });
  });

  it("is no grant, and a grant is no access, whatever a worker is called", async () => {
    const named = { ...ACCESS, workerId: "port" };
    const grants = new CheckedGrants({ keys: setOf(key), clock });
    await expect(grants.verify(await signAccess(key, named), "port", "sb1")).rejects.toMatchObject({ detail: { reason: "wrong_type" } });
    const grant = await new SignedGrants(key).sign({ action: "port", sandboxId: "sb1", port: 80, expiresAt: NOW + 60_000 });
    await expect(tokensOf("port").verify(grant, "sb1")).rejects.toMatchObject({ detail: { reason: "wrong_type" } });
  });

  it("that was altered, or signed otherwise, is refused", async () => {
    const token = await signAccess(key, ACCESS);
    const claims = { aud: "worker-a", sub: "sb1", exp: NOW / 1000 + 60, epoch: 3, allow: ["worker:exec"], key: "api" };
    for (const bad of [
      altered(token, { epoch: 4 }),
      altered(token, { sub: "sb2" }),
      await confused(key, "caisson-access+jwt", claims),
      await signToken(key, "caisson-access+jwt", { ...claims, epoch: "3" }),
      await signToken(key, "caisson-control+jwt", claims),
    ])
      for (const sandboxId of ["sb1", "sb2"]) await expect(tokensOf("worker-a").verify(bad, sandboxId)).rejects.toMatchObject(REFUSED);
  });

  it("keeps only the scopes that are known here", async () => {
    const claims = { aud: "worker-a", sub: "sb1", exp: NOW / 1000 + 60, epoch: 3, allow: ["worker:exec", "worker:teleport"], key: "api" };
    const access = await tokensOf("worker-a").verify(await signToken(key, "caisson-access+jwt", claims), "sb1");
    expect(access.scopes).toEqual(["worker:exec"]);
  });
});
