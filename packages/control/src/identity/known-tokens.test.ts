import type { WorkerStanding } from "@caisson/store";
import { linkAnswer } from "@caisson/identity";
import { expect, it } from "vitest";
import { KnownTokens } from "./known-tokens.ts";

const SHARED = "a-shared-token-for-staging";
const OWN = "the-own-token-of-worker-a";
const GOOD: WorkerStanding = { state: "online", tenantId: null, credential: null, revokedBefore: null, readmitted: true };

function tokens(standings: Record<string, Partial<WorkerStanding>> = {}, shared: string | null = SHARED): KnownTokens {
  return new KnownTokens(
    { shared: () => Promise.resolve(shared ?? undefined), own: { "worker-a": OWN, "worker-c": "another-token-of-worker-c" } },
    { standing: (id) => Promise.resolve(standings[id] === undefined ? undefined : { ...GOOD, ...standings[id] }) },
  );
}
const because = (reason: string): object => ({ code: "unauthorized", detail: { reason } });

it("knows a worker by its own token, with or without its id, and by the shared one with an id", async () => {
  expect(await tokens().verify("worker-a", OWN)).toMatchObject({ workerId: "worker-a", credential: "static", expiresAt: null });
  expect(await tokens().verify(undefined, OWN)).toMatchObject({ workerId: "worker-a", credential: "static" });
  expect(await tokens({ "worker-b": { tenantId: "team" } }).verify("worker-b", SHARED)).toMatchObject({
    workerId: "worker-b",
    credential: "shared",
    tenantId: "team",
  });
});

it("refuses every other pair of token and id", async () => {
  const known = tokens();
  await expect(known.verify("worker-b", OWN)).rejects.toMatchObject(because("wrong_worker"));
  await expect(known.verify("worker-a", SHARED)).rejects.toMatchObject(because("own_token_needed"));
  await expect(known.verify(undefined, SHARED)).rejects.toMatchObject(because("missing"));
  await expect(known.verify("local", SHARED)).rejects.toMatchObject(because("reserved_id"));
  await expect(known.verify("__proto__", SHARED)).rejects.toMatchObject(because("malformed"));
  for (const bad of ["", SHARED.slice(1), `${SHARED} `, "x".repeat(4000)])
    await expect(known.verify("worker-b", bad)).rejects.toMatchObject(because("unknown_token"));
  await expect(tokens({}, null).verify("worker-b", "undefined")).rejects.toMatchObject(because("unknown_token"));
});

it("refuses workers that were removed or revoked, and the shared token for registered ones", async () => {
  await expect(tokens({ "worker-a": { state: "removed" } }).verify("worker-a", OWN)).rejects.toMatchObject(because("removed"));
  const revoked = { revokedBefore: 5, readmitted: false };
  await expect(tokens({ "worker-a": revoked }).verify("worker-a", OWN)).rejects.toMatchObject(because("revoked"));
  await expect(tokens({ "worker-a": { revokedBefore: 5 } }).verify("worker-a", OWN)).resolves.toBeDefined();
  const registered = { "worker-b": { credential: "certificate" as const } };
  await expect(tokens(registered).verify("worker-b", SHARED)).rejects.toMatchObject(because("registered_elsewhere"));
});

it("lets a worker stay until its token or its standing is taken away", async () => {
  const identity = await tokens().verify("worker-b", SHARED);
  expect(await tokens().stillGood(identity)).toBe(true);
  expect(await tokens({}, null).stillGood(identity)).toBe(false);
  const unreadable = { shared: () => Promise.reject(new Error("the disk is busy")), own: {} };
  expect(await new KnownTokens(unreadable, { standing: () => Promise.resolve(undefined) }).stillGood(identity)).toBe(true);
  expect(await tokens({ "worker-b": { state: "removed" } }).stillGood(identity)).toBe(false);
  expect(await tokens({ "worker-b": { revokedBefore: 1, readmitted: false } }).stillGood(identity)).toBe(false);
});

it("takes the answer of a dialled worker that knows its token, and shows none", async () => {
  const answer = linkAnswer(OWN, "worker-a", "nonce");
  expect(await tokens().verifyAnswer("worker-a", "nonce", answer)).toMatchObject({ workerId: "worker-a", credential: "static" });
  await expect(tokens().verifyAnswer("worker-a", "other", answer)).rejects.toMatchObject(because("unknown_token"));
  await expect(tokens().verifyAnswer("worker-b", "nonce", answer)).rejects.toMatchObject(because("unknown_token"));
  expect(answer).not.toContain(OWN);
});
