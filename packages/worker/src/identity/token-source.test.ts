import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemRandom } from "@caisson/contract";
import { isLinkAnswer, makeSigningKey, publicKeySet, signControlToken } from "@caisson/identity";
import { VirtualClock } from "@caisson/testkit";
import { afterEach, beforeEach, expect, it } from "vitest";
import { KnownControlPlanes } from "./known-control-planes.ts";
import { TokenSource } from "./token-source.ts";

let dir = "";
let clock: VirtualClock;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "caisson-identity-"));
  clock = new VirtualClock();
});
afterEach(() => rm(dir, { recursive: true }));

const open = (): Promise<KnownControlPlanes> => KnownControlPlanes.open({ dir, workerId: "worker-a", clock, random: systemRandom });

it("shows its token and id, and sees whether the token was replaced when it is refused", async () => {
  let token = "first-token-of-the-worker";
  const source = new TokenSource({
    workerId: "worker-a",
    readToken: () => Promise.resolve(token),
    known: await open(),
    caCertificates: [],
  });
  expect(await source.headers()).toEqual({ authorization: `Bearer ${token}`, "x-worker-id": "worker-a" });
  expect(await source.refused()).toBe("gone");
  token = "second-token-of-the-worker";
  expect(await source.refused()).toBe("refreshed");
  const answer = await source.answer("nonce");
  expect(isLinkAnswer(answer["x-worker-proof"] ?? "", token, "worker-a", "nonce")).toBe(true);
  await expect(source.answer("")).rejects.toMatchObject({ code: "unauthorized" });
  await expect(source.answer("n".repeat(257))).rejects.toMatchObject({ code: "unauthorized" });
});

it("lets in control planes whose keys it learnt, once per nonce, within a minute, across restarts", async () => {
  const key = await makeSigningKey(0);
  const sign = (nonce: string): Promise<string> => signControlToken(key, { issuer: "i", workerId: "worker-a", nonce, now: 0 });
  const first = await open();
  await expect(first.admit(await sign(first.challenge()), undefined)).rejects.toMatchObject({ detail: { reason: "unknown_key" } });
  await first.learn(publicKeySet([key]));
  expect((await stat(join(dir, "control-keys.json"))).mode & 0o777).toBe(0o600);

  const again = await open();
  const token = await sign(again.challenge());
  expect(await again.admit(token, "i")).toMatchObject({ issuer: "i" });
  await expect(again.admit(token, "i")).rejects.toMatchObject({ detail: { reason: "nonce_invalid" } });
  const late = await sign(again.challenge());
  await clock.advance(60_001);
  await expect(again.admit(late, "i")).rejects.toMatchObject({ detail: { reason: "nonce_invalid" } });
  // Anybody may ask for nonces; who floods keeps no control plane out.
  const crowded = await sign(again.challenge());
  for (let i = 0; i < 5_000; i++) again.challenge();
  expect(await again.admit(crowded, "i")).toMatchObject({ issuer: "i" });
  await expect(again.admit(crowded, "i")).rejects.toMatchObject({ detail: { reason: "nonce_invalid" } });
});

it("takes a damaged file of keys for none", async () => {
  for (const text of ["", "{", "[]", '{"keys":[1]}', '{"keys":[{"kty":"oct","k":"AAAA"}]}']) {
    await writeFile(join(dir, "control-keys.json"), text);
    const known = await open();
    await expect(known.admit("a.b.c", undefined)).rejects.toMatchObject({ detail: { reason: "unknown_key" } });
  }
});
