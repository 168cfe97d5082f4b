import { X509Certificate } from "node:crypto";
import { SCOPES, type Renewal } from "@caisson/contract";
import { makeSigningKey, readSigningKeys, SIGNING_KEYS, signProof, signWorkerToken, type SigningKey } from "@caisson/identity";
import { fuzzPlan, SeededRandom } from "@caisson/testkit";
import { importJWK, SignJWT } from "jose";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { RegisteredIdentities } from "./registered-identities.ts";
import { DAY_MS, HOUR_MS, IdentityWorld, TestWorker } from "./testing/identity-world.ts";

let world: IdentityWorld;
let plane: RegisteredIdentities;
beforeEach(async () => {
  world = await IdentityWorld.open();
  plane = world.controlPlane();
});
afterEach(() => world[Symbol.asyncDispose]());

const because = (reason: string): object => ({ code: "unauthorized", detail: { reason } });

describe("registration", () => {
  it("turns an invitation and a signing request into certificate, token and refresh token", async () => {
    const invitation = await plane.invite({ id: "worker-a", tenant_id: "team" });
    expect(Date.parse(invitation.expires_at)).toBe(world.now + HOUR_MS);
    const worker = new TestWorker();
    worker.held = await plane.register({ token: invitation.token, csr: await worker.csr() });
    const { held } = worker;
    expect(held).toMatchObject({ worker_id: "worker-a", scopes: SCOPES });
    expect(Date.parse(held.token_expires_at)).toBe(world.now + 7 * DAY_MS);
    expect(Date.parse(held.refresh_expires_at)).toBe(world.now + 60 * DAY_MS);

    const certificate = new X509Certificate(held.certificate);
    const authority = new X509Certificate(held.ca_certificate);
    expect(certificate.verify(authority.publicKey)).toBe(true);
    expect(certificate.checkIssued(authority)).toBe(true);
    expect(certificate.subjectAltName).toMatch(/^URI:spiffe:\/\/[0-9a-f]{16}\.caisson\/worker\/worker-a$/);
    expect(certificate.ca).toBe(false);
    expect(Date.parse(certificate.validTo)).toBeGreaterThanOrEqual(world.now + 7 * DAY_MS);

    const identity = await plane.verify(await worker.shows(plane));
    expect(identity).toMatchObject({
      workerId: "worker-a",
      credential: "certificate",
      tenantId: "team",
      expiresAt: world.now + 7 * DAY_MS,
    });
    expect(await plane.stillGood(identity)).toBe(true);
    const added = await world.store.events.after(0, 10, { types: new Set(["worker.added"]) });
    expect(added.map((event) => event.resource_id)).toEqual(["worker-a"]);
  });

  it("keeps no token as it is", async () => {
    const { token } = await plane.invite({ id: "worker-a" });
    const worker = await TestWorker.join(plane, "worker-b");
    const everything = JSON.stringify([await world.store.workerIdentities.standing("worker-b"), await world.store.events.after(0, 100)]);
    expect(everything).not.toContain(token);
    expect(everything).not.toContain(worker.held.refresh_token);
  });

  it("answers a lost registration anew for the same key, until the worker was seen", async () => {
    const { token } = await plane.invite({ id: "worker-a" });
    const worker = new TestWorker();
    const csr = await worker.csr();
    const lost = await plane.register({ token, csr });
    world.advance(2 * HOUR_MS);
    const other = world.controlPlane();
    worker.held = await other.register({ token, csr: await worker.csr() });
    expect(worker.held.refresh_token).not.toBe(lost.refresh_token);

    const thief = new TestWorker();
    await expect(plane.register({ token, csr: await thief.csr() })).rejects.toMatchObject(because("invitation_used"));
    expect(await world.reported("worker-a")).toEqual(["invitation_used"]);

    await other.verify(await worker.shows(other));
    await expect(plane.register({ token, csr })).rejects.toMatchObject(because("invitation_used"));
    await expect(plane.refresh({ refresh_token: lost.refresh_token, csr })).rejects.toMatchObject(because("unknown_token"));
    await worker.refresh(plane);
  });

  it("lets exactly one of two machines use an invitation at the same time", async () => {
    const { token } = await plane.invite({});
    const results = await Promise.allSettled(
      ["worker-a", "worker-b"].map(async (id) => plane.register({ token, worker_id: id, csr: await new TestWorker().csr() })),
    );
    expect(results.map((result) => result.status).toSorted()).toEqual(["fulfilled", "rejected"]);
  });

  it("refuses invitations that are over, unknown, or for somebody else", async () => {
    const csr = await new TestWorker().csr();
    const named = await plane.invite({ id: "worker-a", token_ttl: "5m" });
    await expect(plane.register({ token: named.token, worker_id: "worker-b", csr })).rejects.toMatchObject(because("wrong_worker"));
    world.advance(300_000);
    await expect(plane.register({ token: named.token, csr })).rejects.toMatchObject(because("expired"));
    await expect(plane.register({ token: `${named.token}x`, csr })).rejects.toMatchObject(because("unknown_token"));
    await expect(plane.invite({ token_ttl: "25h" })).rejects.toMatchObject({ code: "invalid_request" });

    const open = await plane.invite({});
    await expect(plane.register({ token: open.token, csr })).rejects.toMatchObject({ code: "invalid_request" });
    await expect(plane.register({ token: open.token, worker_id: "local", csr })).rejects.toMatchObject({ code: "already_exists" });
    await TestWorker.join(plane, "worker-c");
    await expect(plane.register({ token: open.token, worker_id: "worker-c", csr })).rejects.toMatchObject({ code: "already_exists" });
    const configured = world.controlPlane({ "worker-s": "a-static-token-of-worker-s" });
    await expect(configured.register({ token: open.token, worker_id: "worker-s", csr })).rejects.toMatchObject({ code: "already_exists" });
    expect((await plane.register({ token: open.token, worker_id: "worker-d", csr })).worker_id).toBe("worker-d");
  });

  it("invites a registered worker again only after it was revoked or never came", async () => {
    const worker = await TestWorker.join(plane, "worker-a");
    await expect(plane.invite({ id: "worker-a" })).resolves.toBeDefined();
    await plane.verify(await worker.shows(plane));
    await expect(plane.invite({ id: "worker-a" })).rejects.toMatchObject({ code: "already_exists" });
    await plane.revoke("worker-a");
    const again = await TestWorker.join(plane, "worker-a");
    expect(await plane.verify(await again.shows(plane))).toMatchObject({ workerId: "worker-a" });
    await expect(plane.verify(await worker.shows(plane))).rejects.toMatchObject(because("revoked"));
  });
});

describe("refresh", () => {
  it("keeps the old token good until the new one was seen", async () => {
    const worker = await TestWorker.join(plane, "worker-a");
    await plane.verify(await worker.shows(plane));
    const first = worker.held;
    await worker.refresh(plane); // and its answer is lost
    worker.held = first;
    await worker.refresh(plane);
    const second = worker.held;
    await plane.verify(await worker.shows(plane));
    await worker.refresh(plane);
    expect(worker.held.refresh_token).not.toBe(second.refresh_token);
    // Using a token for a refresh is to be seen with it, too.
    await worker.refresh(plane);
    await plane.verify(await worker.shows(plane));
    expect(await world.reported("worker-a")).toEqual([]);
  });

  it("never locks out a worker that crashes anywhere, however often answers are lost", async () => {
    const worker = await TestWorker.join(plane, "worker-a");
    for (let round = 0; round < 60; round++) {
      const before = worker.held;
      await worker.refresh(plane);
      // The answer was lost, or the worker crashed before it wrote it down.
      if (round % 3 !== 2) worker.held = before;
      if (round % 5 === 0) expect(await plane.verify(await worker.shows(plane))).toMatchObject({ workerId: "worker-a" });
      world.advance(HOUR_MS);
    }
    expect(await world.reported("worker-a")).toEqual([]);
  });

  it("refuses, reports and revokes all when a token is used that was replaced", async () => {
    const worker = await TestWorker.join(plane, "worker-a");
    const identity = await plane.verify(await worker.shows(plane));
    const stolen = worker.held.refresh_token;
    world.advance(1);
    await worker.refresh(plane);
    await plane.verify(await worker.shows(plane));
    await expect(plane.refresh({ refresh_token: stolen, csr: await worker.csr() })).rejects.toMatchObject(because("refresh_reused"));
    expect(await world.reported("worker-a")).toContain("refresh_reused");
    expect(await plane.stillGood(identity)).toBe(false);
    await expect(plane.verify(await worker.shows(plane))).rejects.toMatchObject(because("revoked"));
    await expect(worker.refresh(plane)).rejects.toMatchObject(because("revoked"));
  });

  it("is worth nothing without the worker's key", async () => {
    const worker = await TestWorker.join(plane, "worker-a");
    const thief = new TestWorker();
    const asked = plane.refresh({ refresh_token: worker.held.refresh_token, csr: await thief.csr() });
    await expect(asked).rejects.toMatchObject(because("key_mismatch"));
    expect(await world.reported("worker-a")).toEqual(["key_mismatch"]);
    await worker.refresh(plane);
  });

  it("takes nothing from its worker when it is shown again without the key", async () => {
    const worker = await TestWorker.join(plane, "worker-a");
    const identity = await plane.verify(await worker.shows(plane));
    const old = worker.held.refresh_token;
    world.advance(1);
    await worker.refresh(plane);
    await plane.verify(await worker.shows(plane));
    const asked = plane.refresh({ refresh_token: old, csr: await new TestWorker().csr() });
    await expect(asked).rejects.toMatchObject(because("key_mismatch"));
    expect(await world.reported("worker-a")).toEqual(["key_mismatch"]);
    expect(await plane.stillGood(identity)).toBe(true);
    await worker.refresh(plane);
  });

  it("ends after 60 days, and with the worker", async () => {
    const worker = await TestWorker.join(plane, "worker-a");
    world.advance(60 * DAY_MS);
    await expect(worker.refresh(plane)).rejects.toMatchObject(because("expired"));
    await expect(plane.refresh({ refresh_token: "cwr_nobody-has-this-token", csr: await worker.csr() })).rejects.toMatchObject(
      because("unknown_token"),
    );
    const other = await TestWorker.join(plane, "worker-b");
    await world.store.workers.remove("worker-b");
    await expect(other.refresh(plane)).rejects.toMatchObject(because("removed"));
    await expect(plane.verify(await other.shows(plane))).rejects.toMatchObject(because("removed"));
  });
});

describe("what a worker shows", () => {
  it("needs a proof over a nonce, once, on whichever control plane", async () => {
    const worker = await TestWorker.join(plane, "worker-a");
    const { token, worker_id: workerId } = worker.held;
    await expect(plane.verify({ token, workerId })).rejects.toMatchObject(because("proof_missing"));
    const shown = await worker.shows(plane);
    const other = world.controlPlane();
    expect(await other.verify(shown)).toMatchObject({ workerId: "worker-a" });
    await expect(other.verify(shown)).rejects.toMatchObject(because("nonce_used"));
    await expect(plane.verify(shown)).rejects.toMatchObject(because("nonce_used"));
    expect(await world.reported("worker-a")).toContain("nonce_used");
    const late = await worker.shows(plane);
    world.advance(60_001);
    await expect(plane.verify(late)).rejects.toMatchObject(because("nonce_expired"));
  });

  it("opens nothing for another id, key, installation or nonce", async () => {
    const a = await TestWorker.join(plane, "worker-a");
    const b = await TestWorker.join(plane, "worker-b");
    const shown = await a.shows(plane);
    await expect(plane.verify({ ...shown, workerId: "worker-b" })).rejects.toMatchObject(because("wrong_worker"));
    expect(await world.reported("worker-a")).toEqual(["wrong_worker"]);
    await expect(plane.verify(await a.shows(plane, { wid: "worker-b" }))).rejects.toMatchObject(because("wrong_worker"));
    await expect(plane.verify(await a.shows(plane, { key: b.key }))).rejects.toMatchObject(because("key_mismatch"));
    await expect(plane.verify(await a.shows(plane, { aud: "caisson:other" }))).rejects.toMatchObject(because("wrong_audience"));
    await expect(plane.verify(await a.shows(plane, { nonce: "made-up" }))).rejects.toMatchObject(because("nonce_invalid"));
    await expect(plane.verify({ ...shown, proof: (await b.shows(plane)).proof ?? "" })).rejects.toMatchObject(because("key_mismatch"));
  });

  it("must be the certificate that the token is bound to, where one came", async () => {
    const a = await TestWorker.join(plane, "worker-a");
    const b = await TestWorker.join(plane, "worker-b");
    const der = (worker: TestWorker): Uint8Array => new X509Certificate(worker.held.certificate).raw;
    await expect(plane.verify({ ...(await a.shows(plane)), certificate: der(b) })).rejects.toMatchObject(because("certificate_mismatch"));
    expect(await plane.verify({ ...(await a.shows(plane)), certificate: der(a) })).toMatchObject({ workerId: "worker-a" });
  });

  it("must be a token of this installation, for workers, in its time", async () => {
    const worker = await TestWorker.join(plane, "worker-a");
    const key = await plane.keys.signingKey();
    const issuer = await plane.keys.issuer();
    const claims = JSON.parse(Buffer.from(worker.held.token.split(".")[1] ?? "", "base64url").toString()) as Record<string, unknown>;
    const type = "caisson-worker+jwt";
    const sign = async (
      change: Record<string, unknown>,
      { by = key, typ = type }: { by?: SigningKey; typ?: string } = {},
    ): Promise<string> =>
      new SignJWT({ ...claims, ...change }).setProtectedHeader({ alg: "EdDSA", kid: key.kid, typ }).sign(await importJWK(by.jwk, "EdDSA"));
    const base64 = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
    const publicKey = Buffer.from((await plane.publicKeys()).keys[0]?.["x"] as string, "base64url");
    const confused = await new SignJWT(claims).setProtectedHeader({ alg: "HS256", kid: key.kid, typ: type }).sign(publicKey);
    const now = world.now / 1000;

    const cases: [string, string][] = [
      [await sign({ aud: "sandbox:data" }), "wrong_audience"],
      [await sign({ aud: undefined }), "wrong_audience"],
      [await sign({ iss: "caisson:other" }), "other_issuer"],
      [await sign({ exp: now - 1 }), "expired"],
      [await sign({ nbf: now + 60 }), "not_yet"],
      [await sign({ cnf: undefined }), "malformed"],
      [await sign({ sub: "__proto__" }), "malformed"],
      [await sign({}, { typ: "caisson-control+jwt" }), "wrong_type"],
      [await sign({}, { by: await makeSigningKey(0) }), "bad_signature"],
      [`${base64({ alg: "none", kid: key.kid, typ: type })}.${base64(claims)}.`, "wrong_algorithm"],
      [confused, "wrong_algorithm"],
      [`${base64({ alg: "EdDSA", kid: "other", typ: type })}.${base64(claims)}.AAAA`, "unknown_key"],
      [`${worker.held.token.slice(0, -4)}AAAA`, "bad_signature"],
      ["eyJ.x.y", "malformed"],
      [`eyJ${"a".repeat(10_000)}.b.c`, "malformed"],
    ];
    const { proof = "" } = await worker.shows(plane);
    for (const [token, reason] of cases)
      await expect(plane.verify({ token, workerId: "worker-a", proof })).rejects.toMatchObject(because(reason));

    const elsewhere = await IdentityWorld.open();
    const stranger = await TestWorker.join(elsewhere.controlPlane(), "worker-a");
    await expect(plane.verify({ ...(await stranger.shows(plane)), workerId: "worker-a" })).rejects.toMatchObject(because("unknown_key"));
    await elsewhere[Symbol.asyncDispose]();
    await expect(plane.verify(await worker.shows(plane))).resolves.toMatchObject({ workerId: "worker-a" });
    expect(issuer).toMatch(/^caisson:[0-9a-f]{16}$/);
  });

  it("is refused at once, everywhere, after a revocation", async () => {
    const worker = await TestWorker.join(plane, "worker-a");
    const identity = await plane.verify(await worker.shows(plane));
    const other = world.controlPlane();
    expect(await other.stillGood(identity)).toBe(true);
    await plane.revoke("worker-a");
    expect(await other.stillGood(identity)).toBe(false);
    await expect(other.verify(await worker.shows(other))).rejects.toMatchObject(because("revoked"));
    await expect(plane.revoke("nobody")).rejects.toMatchObject({ code: "worker_not_found" });
    await expect(plane.revoke("local")).rejects.toMatchObject({ code: "forbidden" });
  });

  it("does not stay good longer than its token", async () => {
    const worker = await TestWorker.join(plane, "worker-a");
    const identity = await plane.verify(await worker.shows(plane));
    world.advance(7 * DAY_MS);
    expect(await plane.stillGood(identity)).toBe(false);
    await expect(plane.verify(await worker.shows(plane))).rejects.toMatchObject(because("expired"));
    await worker.refresh(plane);
    expect(await plane.verify(await worker.shows(plane))).toMatchObject({ workerId: "worker-a" });
  });

  it("may be shown again, renewed, on the link that it opened: of the same worker and key, in its time, over a nonce", async () => {
    const a = await TestWorker.join(plane, "worker-a");
    const b = await TestWorker.join(plane, "worker-b");
    const link = await plane.verify(await a.shows(plane));
    const renewal = async (worker: TestWorker, by: RegisteredIdentities = plane): Promise<Renewal> => {
      const { token, proof = "" } = await worker.shows(by);
      return { token, proof };
    };
    const first = a.held;
    world.advance(4 * DAY_MS);
    await a.refresh(plane);
    const other = world.controlPlane();
    const shown = await renewal(a);
    const renewed = await other.renew(link, shown);
    expect(renewed).toEqual({ ...link, expiresAt: world.now + 7 * DAY_MS, issuedAt: world.now });
    await expect(plane.renew(link, shown)).rejects.toMatchObject(because("nonce_used"));
    // It was seen with what was issued last: what came before that can be used no more.
    await expect(plane.refresh({ refresh_token: first.refresh_token, csr: await a.csr() })).rejects.toMatchObject(
      because("refresh_reused"),
    );
    await expect(plane.renew(renewed, await renewal(a))).rejects.toMatchObject(because("revoked"));

    const again = await TestWorker.join(plane, "worker-a");
    await expect(plane.renew(link, await renewal(again))).rejects.toMatchObject(because("key_mismatch"));
    const linked = await plane.verify(await again.shows(plane));
    await expect(plane.renew(linked, await renewal(a))).rejects.toMatchObject(because("revoked"));
    await expect(plane.renew(linked, await renewal(b))).rejects.toMatchObject(because("wrong_worker"));
    await expect(plane.renew(linked, { ...(await renewal(again)), token: b.held.token })).rejects.toMatchObject(because("wrong_worker"));
    await expect(plane.renew(linked, { ...(await renewal(again)), proof: (await renewal(b)).proof })).rejects.toMatchObject(
      because("key_mismatch"),
    );
    await expect(plane.renew({ ...linked, tenantId: "team" }, await renewal(again))).rejects.toMatchObject(because("wrong_worker"));
    const told = ["nonce_used", "refresh_reused", "revoked", "key_mismatch", "wrong_worker"];
    expect(new Set(await world.reported("worker-a"))).toEqual(new Set(told));
    expect(await world.reported("worker-b")).toEqual(["wrong_worker"]);
    const late = again.held;
    world.advance(4 * DAY_MS);
    await again.refresh(plane);
    world.advance(4 * DAY_MS);
    const [{ proof }, { proof: stale }] = [await renewal(again), await renewal(again)];
    await expect(plane.renew(linked, { token: late.token, proof })).rejects.toMatchObject(because("expired"));
    world.advance(60_001);
    await expect(plane.renew(linked, { token: again.held.token, proof: stale })).rejects.toMatchObject(because("nonce_expired"));
  });

  it("is renewed on no link that was opened by a token of the configuration", async () => {
    const configured = world.controlPlane({ "worker-s": "a-static-token-of-worker-s" });
    const link = await configured.verify({ token: "a-static-token-of-worker-s", workerId: "worker-s" });
    const renewal = { token: "a-static-token-of-worker-s", proof: "" };
    await expect(configured.renew(link, renewal)).rejects.toMatchObject(because("key_mismatch"));
    await expect(configured.renew(link, { ...renewal, token: "another-token-of-nobody" })).rejects.toMatchObject(because("unknown_token"));
  });

  it("survives a change of the key that signs, on every control plane", async () => {
    const other = world.controlPlane();
    const old = await TestWorker.join(plane, "worker-a");
    await other.verify(await old.shows(other));
    const first = (await plane.keys.signingKey()).kid;
    await Promise.all([plane.keys.rotate(), other.keys.rotate()]);
    expect((await plane.keys.signingKey()).kid).toBe(first);
    world.advance(HOUR_MS);
    const second = (await plane.keys.signingKey()).kid;
    expect(second).not.toBe(first);
    const young = await TestWorker.join(plane, "worker-b");
    for (const worker of [old, young]) expect(await other.verify(await worker.shows(other))).toBeDefined();
    world.advance(8 * DAY_MS);
    await plane.keys.rotate();
    expect((await plane.publicKeys()).keys.map((key) => key["kid"])).not.toContain(first);
    world.advance(100 * DAY_MS);
    await plane.keys.signingKey();
    world.advance(HOUR_MS);
    expect((await other.keys.signingKey()).kid).not.toBe(second);
  });
});

describe("keys that were read by somebody else", () => {
  it("are replaced: what they signed, sealed and certified is void on every control plane, and workers go on", async () => {
    const other = world.controlPlane();
    const worker = await TestWorker.join(plane, "worker-a");
    const identity = await other.verify(await worker.shows(other));
    const [stolen] = readSigningKeys((await world.store.clusterSecrets.get(SIGNING_KEYS)) ?? "");
    const authority = await plane.keys.authority();
    const { keyThumbprint, expiresAt } = identity;
    const claims = { workerId: "worker-a", scopes: [], id: "j", refreshId: "r", certificateThumbprint: "c".repeat(43) };
    const of = { ...claims, issuer: worker.held.issuer, keyThumbprint: keyThumbprint ?? "", expiresAt: expiresAt ?? 0 };
    const forge = (): Promise<string> => signWorkerToken(stolen, { ...of, issuedAt: world.now });
    const forged = async (at: RegisteredIdentities) => at.verify({ ...(await worker.shows(at)), token: await forge() });
    expect(await forged(plane)).toMatchObject({ workerId: "worker-a" });
    const sealed = await other.challenge();

    const { key_id: keyId } = await plane.rotateKeys({ immediately: true });
    expect((await plane.keys.signingKey()).kid).toBe(keyId);
    await expect(plane.verify(await worker.shows(plane))).rejects.toMatchObject(because("unknown_key"));
    await expect(forged(plane)).rejects.toMatchObject(because("unknown_key"));
    expect(await plane.stillGood(identity)).toBe(false);
    expect((await plane.introduce("worker-a", "n")).headers["authorization"]).not.toContain(stolen.kid);
    // The other one has looked half a minute ago at the most.
    world.advance(30_000);
    await expect(other.verify(await worker.shows(other))).rejects.toMatchObject(because("unknown_key"));
    expect(await other.stillGood(identity)).toBe(false);
    expect((await other.publicKeys()).keys.map((key) => key["kid"])).toEqual([keyId]);

    await worker.refresh(other);
    const next = await other.verify(await worker.shows(other));
    expect(next).toMatchObject({ workerId: "worker-a", keyId });
    expect(await plane.stillGood(next)).toBe(true);
    await expect(plane.verify(await worker.shows(plane, { nonce: sealed }))).rejects.toMatchObject(because("nonce_invalid"));
    const certificate = new X509Certificate(worker.held.certificate);
    expect(worker.held.ca_certificate).not.toBe(authority.certificate);
    expect(certificate.verify(new X509Certificate(worker.held.ca_certificate).publicKey)).toBe(true);
    expect(await world.store.events.after(0, 10, { types: new Set(["installation.keys_rotated"]) })).toMatchObject([
      { resource_type: "installation", data: { key_id: keyId, immediately: true } },
    ]);
  });

  it("sign nothing for a worker that renews at a control plane which has not looked yet", async () => {
    const other = world.controlPlane();
    const worker = await TestWorker.join(other, "worker-a");
    const { key_id: keyId } = await plane.rotateKeys({ immediately: true });
    await worker.refresh(other);
    expect(await plane.verify(await worker.shows(plane))).toMatchObject({ keyId });
  });

  it("leave no worker that just renews with a good token beside a certificate of before", async () => {
    const other = world.controlPlane();
    const worker = await TestWorker.join(other, "worker-a");
    const authority = other.keys.authority.bind(other.keys);
    vi.spyOn(other.keys, "authority").mockImplementationOnce(async () => {
      const read = await authority();
      await plane.rotateKeys({ immediately: true });
      return read;
    });
    await worker.refresh(other);
    // It renews once more at once, not in half a week.
    await expect(plane.verify(await worker.shows(plane))).rejects.toMatchObject(because("unknown_key"));
    await worker.refresh(other);
    const { ca_certificate: issuer, certificate } = worker.held;
    expect(issuer).toBe((await plane.keys.authority()).certificate);
    expect(new X509Certificate(certificate).verify(new X509Certificate(issuer).publicKey)).toBe(true);
  });
});

describe("keys that are to be replaced", () => {
  it("get one successor at a time, and are good until nothing they signed can be", async () => {
    const first = (await plane.keys.signingKey()).kid;
    const rotated = await plane.rotateKeys({});
    expect(rotated).toEqual({
      key_id: expect.not.stringMatching(first) as string,
      signs_at: new Date(world.now + HOUR_MS).toISOString(),
      others_until: new Date(world.now + HOUR_MS + 8 * DAY_MS).toISOString(),
    });
    world.advance(HOUR_MS - 1);
    expect(await world.controlPlane().rotateKeys({ immediately: false })).toEqual(rotated);
    expect((await plane.keys.signingKey()).kid).toBe(first);
    world.advance(1);
    expect((await plane.keys.signingKey()).kid).toBe(rotated.key_id);
    world.advance(8 * DAY_MS - 1);
    expect(await plane.keys.verifies(first)).toBe(true);
    world.advance(30_001);
    expect(await plane.keys.verifies(first)).toBe(false);
    expect((await plane.publicKeys()).keys.map((key) => key["kid"])).toEqual([rotated.key_id]);
  });

  it("are never more than everybody takes", async () => {
    for (let made = 1; made < 8; made += 1) {
      await plane.rotateKeys({});
      world.advance(HOUR_MS);
    }
    await expect(plane.rotateKeys({})).rejects.toMatchObject({ code: "state_conflict" });
    expect((await world.controlPlane().publicKeys()).keys).toHaveLength(8);
    world.advance(9 * DAY_MS);
    await plane.rotateKeys({});
    expect((await plane.publicKeys()).keys).toHaveLength(2);
  });
});

describe("links that a control plane dials", () => {
  it("take the answer of the worker that was dialled, over the nonce that was sent", async () => {
    const a = await TestWorker.join(plane, "worker-a");
    const b = await TestWorker.join(plane, "worker-b");
    const { nonce } = await plane.introduce("worker-a", "nonce-of-the-worker");
    const answer = async (worker: TestWorker, over: string): Promise<Parameters<RegisteredIdentities["verifyAnswer"]>[2]> => {
      const { token, workerId, proof } = await worker.shows(plane, { nonce: over });
      return { token, workerId, proof };
    };
    expect(await plane.verifyAnswer("worker-a", nonce, await answer(a, nonce))).toMatchObject({ workerId: "worker-a" });
    await expect(plane.verifyAnswer("worker-a", nonce, await answer(a, "another"))).rejects.toMatchObject(because("nonce_invalid"));
    await expect(plane.verifyAnswer("worker-a", nonce, await answer(b, nonce))).rejects.toMatchObject(because("wrong_worker"));
    const lying = { ...(await answer(b, nonce)), workerId: "worker-a" };
    await expect(plane.verifyAnswer("worker-a", nonce, lying)).rejects.toMatchObject(because("wrong_worker"));
    await expect(plane.verifyAnswer("worker-a", nonce, { ...lying, proof: undefined })).rejects.toMatchObject(because("proof_missing"));
  });

  it("show no token before the worker gave a nonce", async () => {
    expect((await plane.introduce("worker-a", undefined)).headers["authorization"]).toBeUndefined();
    expect((await plane.introduce("worker-a", "n")).headers["authorization"]).toMatch(/^Bearer eyJ/);
  });
});

it("answers whatever it is shown with unauthorized or invalid_request, and nothing else", async () => {
  const worker = await TestWorker.join(plane, "worker-a");
  const { token, proof = "" } = await worker.shows(plane);
  const csr = await worker.csr();
  const { seed, cases } = fuzzPlan(300);
  const random = new SeededRandom(seed);
  const spoil = (text: string): string => {
    const bytes = Buffer.from(text);
    for (let i = random.int(1, 4); i > 0; i--) bytes[random.int(0, bytes.length - 1)] = random.int(0, 255);
    return bytes.subarray(0, random.chance(0.2) ? random.int(0, bytes.length) : bytes.length).toString("latin1");
  };
  for (let i = 0; i < cases; i++) {
    const odd = await signProof(worker.key, { nonce: spoil("nonce.aaaa.bbbb"), aud: worker.held.issuer, wid: spoil("worker-a") });
    const results = await Promise.allSettled([
      plane.verify({ token: spoil(token), workerId: "worker-a", proof }),
      plane.verify({ token, workerId: spoil("worker-a"), proof }),
      plane.verify({ token, workerId: "worker-a", proof: spoil(proof) }),
      plane.verify({ token, workerId: "worker-a", proof: odd }),
      plane.refresh({ refresh_token: spoil(worker.held.refresh_token), csr }),
      plane.register({ token: spoil("cwi_token-of-nobody"), csr: spoil(csr) }),
    ]);
    for (const result of results) {
      if (result.status === "fulfilled") continue; // what was spoilt did not count
      expect(["unauthorized", "invalid_request"], `seed ${seed}, case ${i}`).toContain((result.reason as { code: string }).code);
    }
  }
});

it("signs tokens whose times are exact", async () => {
  const key = await makeSigningKey(0);
  const token = await signWorkerToken(key, {
    issuer: "i",
    workerId: "w",
    scopes: [],
    id: "j",
    refreshId: "r",
    keyThumbprint: "k".repeat(43),
    certificateThumbprint: "c".repeat(43),
    issuedAt: 1_893_456_000_001,
    expiresAt: 1_893_456_000_002,
  });
  const claims = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString()) as { iat: number };
  expect(Math.round(claims.iat * 1000)).toBe(1_893_456_000_001);
});
