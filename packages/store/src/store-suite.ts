import { isCaissonError } from "@caisson/contract";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { describeExecLog } from "./exec-log-suite.ts";
import { IDEMPOTENCY_KEY_MS, type Reservation, type ReserveSandbox } from "./reserve-sandbox.ts";
import { DEFAULT_RETENTION } from "./retention.ts";
import type { SandboxRecord } from "./sandbox-record.ts";
import type { SandboxChange } from "./change-sandbox.ts";
import type { StoreClock } from "./store-clock.ts";
import type { Store } from "./store.ts";
import { reserveRequest } from "./testing/reserve-request.ts";
import { describeWorkerIdentities } from "./worker-identity-suite.ts";

/** A database that the suite runs on. */
export interface StoreDescriptor {
  readonly name: string;
  /** Whether the time in it is this process's own, so that a clock that is set moves deadlines. */
  readonly ownTime: boolean;
  /** An empty store on this clock. */
  open(clock: StoreClock): Promise<Store>;
  /** Removes what `open` made; the store is closed. */
  remove(): Promise<void>;
}

const START = Date.UTC(2030, 0, 1);

const RUNNING: SandboxChange = {
  state: "running",
  reason: null,
  deadlineMs: null,
  fence: false,
  box: { runtime: "crun", imageDigest: "sha256:aa" },
  event: { type: "sandbox.running", data: { from: "creating" } },
};
const DESTROYED: SandboxChange = {
  state: "destroyed",
  reason: { code: "destroy_requested", message: "" },
  deadlineMs: null,
  fence: true,
  event: { type: "sandbox.destroyed", data: {} },
};

function request(id: string, given: Partial<ReserveSandbox> = {}): ReserveSandbox {
  const spec = { provider: "oci", image: "host", resources: { memoryMb: 64 }, network: "none" } as const;
  return reserveRequest(id, { spec, env: { TOKEN: "secret" }, ...given });
}

function reserved(reservation: Reservation): SandboxRecord {
  if (reservation.kind !== "reserved") throw new Error(`not reserved but ${reservation.kind}`);
  return reservation.sandbox;
}

/** Everything a store promises, on one database. */
export function describeStore(descriptor: StoreDescriptor): void {
  describeWorkerIdentities(descriptor);
  describeExecLog(descriptor);
  describe(`store on ${descriptor.name}`, () => {
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

    it("reserves a sandbox with lease, labels and event", async () => {
      const made = reserved(await store.sandboxes.reserve(request("sb1", { metadata: { team: "a" }, ownerId: "me", maxLive: 5 })));
      expect(made).toMatchObject({ state: "creating", version: 1, epoch: 1, ownerId: "me", metadata: { team: "a" }, endedAt: null });
      expect(made).toMatchObject({ createdAt: START, expiresAt: START + 60_000, deadlineAt: START + 10_000, env: { TOKEN: "secret" } });
      expect(await store.sandboxes.get("sb1")).toEqual(made);
      expect(await store.leases.ofWorker("local")).toEqual([{ sandbox: made, epoch: 1 }]);
      expect(await store.leases.ofWorker("other")).toEqual([]);
      expect(await store.events.after(0, 10)).toMatchObject([
        { type: "sandbox.created", sandbox_id: "sb1", at: "2030-01-01T00:00:00.000Z" },
      ]);
      expect(await store.sandboxes.get("sb2")).toBeUndefined();
    });

    it("lets exactly one of two writers of the same version win", async () => {
      reserved(await store.sandboxes.reserve(request("sb1")));
      const results = await Promise.all([store.sandboxes.apply("sb1", 1, RUNNING), store.sandboxes.apply("sb1", 1, DESTROYED)]);
      expect(results.filter((result) => result !== undefined)).toHaveLength(1);
      expect((await store.sandboxes.get("sb1"))?.version).toBe(2);
      expect(await store.events.after(0, 10)).toHaveLength(2);
      expect(await store.sandboxes.apply("sb1", 1, DESTROYED)).toBeUndefined();
      expect(await store.sandboxes.apply("nobody", 1, DESTROYED)).toBeUndefined();
      expect(await store.events.after(0, 10)).toHaveLength(2);
    });

    it("keeps the first start and the first end, and forgets the environment at the end", async () => {
      reserved(await store.sandboxes.reserve(request("sb1")));
      now += 5;
      expect(await store.sandboxes.apply("sb1", 1, RUNNING)).toMatchObject({ startedAt: START + 5, runtime: "crun", deadlineAt: null });
      now += 5;
      await store.sandboxes.apply("sb1", 2, { ...RUNNING, state: "unhealthy", event: { type: "sandbox.unhealthy", data: {} } });
      expect(await store.sandboxes.apply("sb1", 3, RUNNING)).toMatchObject({ startedAt: START + 5 });
      now += 5;
      const stopped: SandboxChange = { ...DESTROYED, state: "stopped", event: { type: "sandbox.stopped", data: {} } };
      expect(await store.sandboxes.apply("sb1", 4, stopped)).toMatchObject({ endedAt: START + 15, env: {}, epoch: 2 });
      now += 5;
      expect(await store.sandboxes.apply("sb1", 5, DESTROYED)).toMatchObject({ endedAt: START + 15, state: "destroyed", epoch: 3 });
    });

    it("tells one who says what was there what is there now, as if it had been read", async () => {
      let seen: SandboxRecord | undefined = reserved(await store.sandboxes.reserve(request("sb1", { metadata: { a: "b" } })));
      const { box: _, ...plain } = RUNNING;
      const reason = { code: "agent_unreachable", message: "x" };
      for (const change of [RUNNING, { ...plain, state: "pausing", reason, deadlineMs: 700 } as const, plain]) {
        now += 5;
        const before = seen;
        seen = await store.sandboxes.apply("sb1", before.version, change, before);
        expect(seen).toEqual(await store.sandboxes.get("sb1"));
        expect(seen).toMatchObject({ version: before.version + 1, updatedAt: now, startedAt: START + 5, runtime: "crun" });
        expect(await store.sandboxes.apply("sb1", before.version, change, before)).toBeUndefined();
        if (seen === undefined) throw new Error("somebody else was first");
      }
    });

    it("fences the lease with the state and releases it only with its epoch", async () => {
      reserved(await store.sandboxes.reserve(request("sb1")));
      const gone = await store.sandboxes.apply("sb1", 1, DESTROYED);
      expect(gone?.epoch).toBe(2);
      expect(await store.leases.get("sb1")).toEqual({ workerId: "local", epoch: 2 });
      expect(await store.leases.release("sb1", 1)).toBe(false);
      expect(await store.leases.release("sb1", 2)).toBe(true);
      expect(await store.leases.release("sb1", 2)).toBe(false);
      expect(await store.leases.get("sb1")).toBeUndefined();
      expect((await store.events.after(0, 10)).map((event) => event.type)).toEqual([
        "sandbox.created",
        "sandbox.destroyed",
        "sandbox.released",
      ]);
    });

    it("answers an Idempotency-Key with the first sandbox, refuses another request, and forgets after its time", async () => {
      const idempotency = { key: "k", requestHash: "h" };
      const both = await Promise.all([
        store.sandboxes.reserve(request("sb1", { idempotency })),
        store.sandboxes.reserve(request("sb2", { idempotency, maxLive: 1 })),
      ]);
      expect(both.map((result) => result.kind).toSorted()).toEqual(["repeated", "reserved"]);
      const made = await store.sandboxes.list({ states: "all", metadata: {}, limit: 10 });
      expect(made.items).toHaveLength(1);
      const { id } = made.items[0] ?? { id: "" };
      expect(both).toMatchObject([{ sandbox: { id } }, { sandbox: { id } }]);
      expect(await store.sandboxes.reserve(request("sb3", { idempotency: { key: "k", requestHash: "other" } }))).toEqual({
        kind: "key_conflict",
      });
      expect(await store.sandboxes.repeated(idempotency)).toMatchObject({ kind: "repeated", sandbox: { id } });
      expect(await store.sandboxes.repeated({ key: "k", requestHash: "other" })).toEqual({ kind: "key_conflict" });
      now += IDEMPOTENCY_KEY_MS;
      expect(await store.sandboxes.repeated(idempotency)).toBeUndefined();
      expect((await store.sandboxes.reserve(request("sb4", { idempotency }))).kind).toBe("reserved");
    });

    it("counts live sandboxes only and keeps the limit under concurrency", async () => {
      const results = await Promise.all(Array.from({ length: 6 }, (_, i) => store.sandboxes.reserve(request(`sb${i}`, { maxLive: 3 }))));
      expect(results.filter((result) => result.kind === "reserved")).toHaveLength(3);
      expect(results.filter((result) => result.kind !== "reserved")).toEqual(Array.from({ length: 3 }, () => ({ kind: "full", live: 3 })));
      const [one] = results.flatMap((result) => (result.kind === "reserved" ? [result.sandbox.id] : []));
      await store.sandboxes.apply(one ?? "", 1, DESTROYED);
      expect((await store.sandboxes.reserve(request("sb9", { maxLive: 3 }))).kind).toBe("reserved");
      expect(await store.leases.ofWorker("local")).toHaveLength(4);
    });

    it("pages through everything once, newest first, whatever is made or ends meanwhile", async () => {
      for (let i = 0; i < 25; i += 1) {
        if (i % 3 === 0) now += 1; // several of one millisecond
        reserved(await store.sandboxes.reserve(request(`sb${String(i).padStart(2, "0")}`, { metadata: { odd: String(i % 2), all: "1" } })));
      }
      const seen: string[] = [];
      let cursor: string | undefined;
      for (;;) {
        const page = await store.sandboxes.list({
          states: "all",
          metadata: {},
          limit: 4,
          ...(cursor === undefined ? {} : { cursor }),
        });
        seen.push(...page.items.map((item) => item.id));
        now += 1;
        reserved(await store.sandboxes.reserve(request(`sbnew${seen.length}`)));
        if (page.nextCursor === null) break;
        cursor = page.nextCursor;
      }
      expect(seen).toEqual(Array.from({ length: 25 }, (_, i) => `sb${String(24 - i).padStart(2, "0")}`));
      const odd = await store.sandboxes.list({ states: "live", metadata: { odd: "1", all: "1" }, limit: 100 });
      expect(odd.items).toHaveLength(12);
      expect(odd.nextCursor).toBeNull();
      await store.sandboxes.apply("sb01", 1, DESTROYED);
      expect((await store.sandboxes.list({ states: "live", metadata: { odd: "1" }, limit: 100 })).items).toHaveLength(11);
      expect((await store.sandboxes.list({ states: ["destroyed", "error"], metadata: {}, limit: 100 })).items).toHaveLength(1);
    });

    it.each(["", "x", "bnVsbA", Buffer.from('["1","a"]').toString("base64url")])("refuses the cursor %j", async (cursor) => {
      const error: unknown = await store.sandboxes
        .list({ states: "all", metadata: {}, limit: 1, cursor })
        .catch((thrown: unknown) => thrown);
      expect(isCaissonError(error, "invalid_request")).toBe(true);
    });

    it("tells what is due and when the next thing will be", async () => {
      expect(await store.deadlines.next()).toBeUndefined();
      reserved(await store.sandboxes.reserve(request("sb1")));
      expect(await store.deadlines.next()).toBe(START + 10_000);
      expect(await store.deadlines.due(10)).toEqual([]);
      now += 10_000;
      expect((await store.deadlines.due(10)).map((row) => row.id)).toEqual(["sb1"]);
      await store.sandboxes.apply("sb1", 1, RUNNING);
      expect(await store.deadlines.due(10)).toEqual([]);
      expect(await store.deadlines.next()).toBe(START + 60_000);
      expect(await store.sandboxes.extend("sb1", 1, 1)).toBeUndefined();
      expect(await store.sandboxes.extend("sb1", 2, 90_000)).toMatchObject({ expiresAt: START + 100_000, version: 3 });
      now = START + 100_000;
      expect((await store.deadlines.due(10)).map((row) => row.id)).toEqual(["sb1"]);
      await store.sandboxes.apply("sb1", 3, DESTROYED);
      expect(await store.deadlines.due(10)).toEqual([]);
      expect(await store.deadlines.next()).toBeUndefined();
      expect(await store.sandboxes.extend("sb1", 4, 1)).toBeUndefined();
    });

    it.runIf(descriptor.ownTime)("moves deadlines with the clock, in one step with whoever reads the new time", async () => {
      reserved(await store.sandboxes.reserve(request("sb1", { idempotency: { key: "k", requestHash: "h" } })));
      const [, made] = await Promise.all([
        store.deadlines.shift(3_600_000, () => {
          now += 3_600_000;
        }),
        store.sandboxes.reserve(request("sb2")),
      ]);
      expect(await store.sandboxes.get("sb1")).toMatchObject({ expiresAt: START + 3_660_000, deadlineAt: START + 3_610_000, version: 2 });
      expect(reserved(made)).toMatchObject({ createdAt: START + 3_600_000, expiresAt: START + 3_660_000 });
      now += IDEMPOTENCY_KEY_MS - 1;
      const again = await store.sandboxes.reserve(request("sb3", { idempotency: { key: "k", requestHash: "h" } }));
      expect(again.kind).toBe("repeated");
    });

    it("purges ended sandboxes without lease, old keys and old events, and nothing else", async () => {
      reserved(await store.sandboxes.reserve(request("sbgone", { metadata: { a: "b" }, idempotency: { key: "k", requestHash: "h" } })));
      reserved(await store.sandboxes.reserve(request("sbleft")));
      reserved(await store.sandboxes.reserve(request("sblive")));
      await store.sandboxes.apply("sbgone", 1, DESTROYED);
      await store.leases.release("sbgone", 2);
      await store.sandboxes.apply("sbleft", 1, DESTROYED);
      expect(await store.purge()).toEqual({ sandboxes: 0, keys: 0, events: 0, processes: 0, deliveries: 0, more: false });
      now += DEFAULT_RETENTION.endedMs + 1;
      await store.sandboxes.apply("sblive", 1, RUNNING);
      expect(await store.purge()).toEqual({ sandboxes: 1, keys: 1, events: 6, processes: 0, deliveries: 0, more: false });
      expect(await store.sandboxes.get("sbgone")).toBeUndefined();
      expect(await store.sandboxes.get("sbleft")).toBeDefined();
      expect(await store.sandboxes.get("sblive")).toBeDefined();
      expect((await store.events.after(0, 10)).map((event) => event.type)).toEqual(["sandbox.running"]);
      expect((await store.sandboxes.reserve(request("sbnew", { idempotency: { key: "k", requestHash: "x" } }))).kind).toBe("reserved");
    });

    it("bounds events by count and never gives a sequence number twice", async () => {
      for (let i = 0; i < 10; i += 1) reserved(await store.sandboxes.reserve(request(`sb${i}`)));
      expect(await store.purge({ ...DEFAULT_RETENTION, eventCount: 3 })).toMatchObject({ events: 7 });
      expect((await store.events.after(0, 10)).map((event) => event.seq)).toEqual([8, 9, 10]);
      now += DEFAULT_RETENTION.eventMs + 1;
      // The newest stays, so that it is known where the order stands.
      expect(await store.purge()).toMatchObject({ events: 2 });
      reserved(await store.sandboxes.reserve(request("sblast")));
      expect((await store.events.after(0, 10)).map((event) => event.seq)).toEqual([10, 11]);
      expect(await store.events.after(11, 10)).toEqual([]);
    });

    it("reads events by kind, by sandbox, forwards and backwards, and tells how far it looked", async () => {
      for (const id of ["sb1", "sb2", "sb3"]) reserved(await store.sandboxes.reserve(request(id)));
      await store.sandboxes.apply("sb1", 1, RUNNING);
      const seqs = async (page: Promise<readonly { readonly seq: number }[]>): Promise<number[]> => (await page).map((event) => event.seq);
      expect(await seqs(store.events.after(0, 10, { sandboxId: "sb1" }))).toEqual([1, 4]);
      expect(await seqs(store.events.after(0, 10, { types: new Set(["sandbox.created"]) }))).toEqual([1, 2, 3]);
      expect(await seqs(store.events.before(4, 2))).toEqual([2, 3]);
      expect(await seqs(store.events.before(100, 1, { types: new Set(["sandbox.created"]), sandboxId: "sb2" }))).toEqual([2]);
      expect(await store.events.page(0, 2)).toMatchObject({ items: [{ seq: 1 }, { seq: 2 }], scanned: 2, oldest: 1, newest: 4 });
      expect(await store.events.page(1, 2, { sandboxId: "sb1" })).toMatchObject({
        items: [{ seq: 4, resource_type: "sandbox" }],
        scanned: 4,
      });
      expect(await store.events.page(4, 2, { sandboxId: "sb2" })).toMatchObject({ items: [], scanned: 4 });
      expect(await store.events.page(9, 2)).toMatchObject({ items: [], scanned: 9, newest: 4 });
      await store.purge({ ...DEFAULT_RETENTION, eventCount: 2 });
      expect(await store.events.page(0, 9)).toMatchObject({ items: [{ seq: 3 }, { seq: 4 }], oldest: 3, newest: 4 });
    });

    it("tells when something was appended, and who hears it reads it", async () => {
      const heard: Promise<readonly unknown[]>[] = [];
      const stop = store.events.onAppend(() => heard.push(store.events.after(0, 10)));
      reserved(await store.sandboxes.reserve(request("sb1")));
      stop();
      reserved(await store.sandboxes.reserve(request("sb2")));
      expect(heard).toHaveLength(1);
      expect((await heard[0])?.[0]).toMatchObject({ seq: 1, resource_id: "sb1" });
    });

    it("keeps the visibility of ports until their sandbox ends, and takes none after", async () => {
      const sandbox = reserved(await store.sandboxes.reserve(request("sb1")));
      reserved(await store.sandboxes.reserve(request("sb2")));
      expect(await store.ports.put("sb1", { port: 8000, public: false })).toBe(true);
      expect(await store.ports.put("sb1", { port: 80, public: true })).toBe(true);
      expect(await store.ports.put("sb1", { port: 8000, public: true })).toBe(true);
      expect(await store.ports.put("sb2", { port: 80, public: true })).toBe(true);
      expect(await store.ports.put("sb3", { port: 80, public: true })).toBe(false);
      expect(await store.ports.list("sb1")).toEqual([
        { port: 80, public: true },
        { port: 8000, public: true },
      ]);
      expect(await store.ports.remove("sb1", 80)).toBe(true);
      expect(await store.ports.remove("sb1", 80)).toBe(false);
      expect(await store.ports.get("sb1", 80)).toBeUndefined();
      // Publishing is no change of the sandbox: the version that was seen still holds.
      expect(await store.sandboxes.apply("sb1", sandbox.version, DESTROYED)).toBeDefined();
      expect(await store.ports.list("sb1")).toEqual([]);
      expect(await store.ports.put("sb1", { port: 80, public: true })).toBe(false);
      expect(await store.ports.list("sb2")).toEqual([{ port: 80, public: true }]);
      expect(
        (await store.events.after(0, 99, { types: new Set(["port.published", "port.unpublished"]), sandboxId: "sb1" })).at(-1),
      ).toMatchObject({
        type: "port.unpublished",
        resource_id: "80",
      });
    });

    it("queues messages once, whoever moves the position first, and lets only the holder of the lease finish them", async () => {
      const settings = { url: "http://x/", events: ["sandbox.*"], sandboxId: null, active: true };
      const { position } = await store.webhooks.create("wh1", settings, "whsec_1");
      expect(position).toBe(1); // its own creation is the first event
      const message = (id: string) => ({ id, type: "sandbox.created", eventSeq: 2, body: "{}" });
      const both = [
        store.deliveries.enqueue("wh1", 1, 3, [message("wd1"), message("wd2")]),
        store.deliveries.enqueue("wh1", 1, 3, [message("wd1"), message("wd2")]),
      ];
      expect((await Promise.all(both)).filter(Boolean)).toHaveLength(1);
      expect((await store.webhooks.get("wh1"))?.position).toBe(3);
      expect(await store.deliveries.waiting("wh1", 10)).toBe(2);

      expect(await store.webhooks.claim("wh1", "a", 1_000)).toBe(true);
      expect(await store.webhooks.claim("wh1", "b", 1_000)).toBe(false);
      const head = await store.deliveries.head("wh1");
      if (head === undefined) throw new Error("no head");
      const result = { responseCode: 200, responseBody: "ok", error: null, durationMs: 1.5 };
      now += 1_000;
      expect(await store.webhooks.claim("wh1", "b", 1_000)).toBe(true);
      expect(await store.deliveries.attempted(head, "a", result, { status: "delivered" })).toBe(false);
      expect(await store.deliveries.attempted(head, "b", result, { status: "pending", inMs: 50 })).toBe(true);
      expect(await store.deliveries.head("wh1")).toMatchObject({ id: "wd1", attempts: 1, nextAttemptAt: now + 50 });
      expect(await store.deliveries.attempted(head, "b", result, { status: "delivered" })).toBe(true);
      expect(await store.deliveries.attempted(head, "b", result, { status: "failed" })).toBe(false);
      expect((await store.deliveries.head("wh1"))?.id).toBe("wd2");
      await store.webhooks.release("wh1", "b");
      expect(await store.webhooks.claim("wh1", "a", 1_000)).toBe(true);

      now += DEFAULT_RETENTION.deliveryMs + 1;
      expect(await store.purge()).toMatchObject({ deliveries: 1 });
      expect((await store.deliveries.page("wh1", 10)).items.map((one) => one.id)).toEqual(["wd2"]);
      expect(await store.webhooks.remove("wh1")).toBe(true);
      expect(await store.webhooks.remove("wh1")).toBe(false);
      expect(await store.deliveries.head("wh1")).toBeUndefined();
    });

    it("keeps hashed keys", async () => {
      const key = { id: "k1", name: "first", role: "api", hash: "ab".repeat(32), createdAt: START } as const;
      await store.keys.put(key);
      await store.keys.put({ ...key, name: "renamed" });
      expect(await store.keys.find(key.hash)).toEqual({ ...key, name: "renamed" });
      expect(await store.keys.find("cd".repeat(32))).toBeUndefined();
      expect(await store.keys.list()).toHaveLength(1);
      expect(await store.keys.remove("k1")).toBe(true);
      expect(await store.keys.remove("k1")).toBe(false);
      await store.ping();
    });

    it("makes a shared secret once, however many ask for it at the same time", async () => {
      expect(await store.clusterSecrets.get("a")).toBeUndefined();
      const made = await Promise.all([1, 2, 3].map((one) => store.clusterSecrets.getOrMake("a", async () => `secret ${one}`)));
      expect(new Set(made).size).toBe(1);
      expect(await store.clusterSecrets.getOrMake("a", () => "another")).toBe(made[0]);
      expect(await store.clusterSecrets.get("a")).toBe(made[0]);
    });
  });
}
