import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { StoreDescriptor } from "./store-suite.ts";
import type { Store } from "./store.ts";
import type { NewInvitation, NewRefreshToken, NewRegistration } from "./worker-identity-record.ts";

const START = Date.UTC(2030, 0, 1);
const DAY_MS = 86_400_000;

const invitation = (name: string, workerId: string | null = null): NewInvitation => ({
  id: name,
  workerId,
  tenantId: null,
  hash: `hash-${name}`,
  ttlMs: 1000,
});
const token = (name: string): NewRefreshToken => ({ id: name, hash: `hash-${name}`, ttlMs: DAY_MS });
const registration = (name: string, tokenName: string, of: Partial<NewRegistration> = {}): NewRegistration => ({
  hash: `hash-${name}`,
  workerId: undefined,
  mayChoose: true,
  keyThumbprint: "key",
  refreshToken: token(tokenName),
  ...of,
});

/** What a store promises of workers' credentials. */
export function describeWorkerIdentities(descriptor: StoreDescriptor): void {
  describe(`worker identities on ${descriptor.name}`, () => {
    let store: Store;
    let now = START;
    beforeEach(async () => {
      now = START;
      store = await descriptor.open({ now: () => now });
    });
    afterEach(async () => {
      await store.close();
      await descriptor.remove();
    });

    it("lets one of many use an invitation, and one of many take an id", async () => {
      const { workerIdentities } = store;
      await workerIdentities.invite(invitation("i1"));
      const racers = ["a", "b", "c", "d"].map((id) =>
        workerIdentities.register(registration("i1", `r${id}`, { workerId: id, keyThumbprint: id })),
      );
      const kinds = (await Promise.all(racers)).map((outcome) => outcome.kind);
      expect(kinds.filter((kind) => kind === "issued")).toHaveLength(1);
      expect(new Set(kinds)).toEqual(new Set(["issued", "used"]));

      await Promise.all([workerIdentities.invite(invitation("i2")), workerIdentities.invite(invitation("i3"))]);
      const same = ["i2", "i3"].map((name) =>
        workerIdentities.register(registration(name, `r-${name}`, { workerId: "w", keyThumbprint: name })),
      );
      expect((await Promise.allSettled(same)).filter((one) => one.status === "fulfilled" && one.value.kind === "issued")).toHaveLength(1);
    });

    it("goes from token to token, and back only as long as the next was not seen", async () => {
      const { workerIdentities } = store;
      expect(await workerIdentities.invite(invitation("i1", "w"))).toBe(START + 1000);
      expect(await workerIdentities.register(registration("i1", "r1"))).toMatchObject({ kind: "issued", workerId: "w", issuedAt: START });
      const both = await Promise.all(["r2", "r3"].map((name) => workerIdentities.refresh("hash-r1", "key", token(name))));
      expect(both.map((outcome) => outcome.kind)).toEqual(["issued", "issued"]);
      for (let i = 0; i < 6; i++) {
        now += 1;
        await workerIdentities.refresh("hash-r1", "key", token(`more${i}`));
      }
      // Answers that must have been lost long ago are forgotten, the newest are not.
      expect(await workerIdentities.refresh("hash-r2", "key", token("x"))).toEqual({ kind: "unknown" });
      await workerIdentities.confirm("more5");
      await workerIdentities.confirm("more5");
      await workerIdentities.confirm("more4");
      expect(await workerIdentities.refresh("hash-more4", "key", token("x"))).toEqual({ kind: "unknown" });
      expect(await workerIdentities.refresh("hash-more5", "other", token("x"))).toEqual({ kind: "key_mismatch", workerId: "w" });
      expect(await workerIdentities.refresh("hash-r1", "key", token("x"))).toEqual({ kind: "reused", workerId: "w" });
      expect(await workerIdentities.refresh("hash-more5", "key", token("x"))).toEqual({ kind: "revoked", workerId: "w" });
      expect(await workerIdentities.standing("w")).toMatchObject({ revokedBefore: now, readmitted: false });
      await workerIdentities.invite(invitation("i2", "w"));
      expect(await workerIdentities.standing("w")).toMatchObject({ readmitted: true });
      expect(await workerIdentities.register(registration("i2", "r9"))).toMatchObject({ kind: "issued", issuedAt: now + 1 });
    });

    it("takes a nonce once until its time is over", async () => {
      const { workerIdentities } = store;
      const results = await Promise.all([1, 2, 3].map(() => workerIdentities.useNonce("n", 1000)));
      expect(results.filter(Boolean)).toHaveLength(1);
      now += 1001;
      expect(await workerIdentities.useNonce("n", 1000)).toBe(true);
    });

    it("replaces a secret of all only where it is still what was read", async () => {
      const { clusterSecrets } = store;
      await clusterSecrets.getOrMake("key", () => "one");
      const won = await Promise.all(["two", "three"].map((value) => clusterSecrets.replace("key", "one", value)));
      expect(won.filter(Boolean)).toHaveLength(1);
      expect(await clusterSecrets.replace("none", "", "x")).toBe(false);
    });
  });
}
