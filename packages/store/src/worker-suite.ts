import type { Amounts } from "@caisson/contract";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { MoveSandbox } from "./move-sandbox.ts";
import type { ReserveSandbox } from "./reserve-sandbox.ts";
import type { SandboxRecord } from "./sandbox-record.ts";
import type { StoreDescriptor } from "./store-suite.ts";
import type { Store } from "./store.ts";
import { reserveRequest, STOPPED } from "./testing/reserve-request.ts";
import { NO_AMOUNTS } from "./worker-record.ts";
import type { WorkerBeat } from "./worker-repository.ts";

const START = Date.UTC(2030, 0, 1);

const BEAT: WorkerBeat = {
  session: "s1",
  sequence: 1,
  credential: "static",
  build: "1",
  selfDrain: false,
  labels: {},
  capacity: NO_AMOUNTS,
  used: NO_AMOUNTS,
  providers: { digest: "d1", reports: [] },
  images: ["debian:12"],
  previewDomain: null,
  previewUrl: null,
  publicUrl: null,
  advertiseAddr: null,
  onControlLoss: "run",
};
const bounds = (some: Partial<Amounts>): Amounts => ({ ...NO_AMOUNTS, ...some });

function request(id: string, workerId: string, more: Partial<ReserveSandbox> = {}): ReserveSandbox {
  const spec = { provider: "oci", image: "host", resources: { memoryMb: 64, vcpus: 0.1, diskMb: 10 }, network: "none" } as const;
  return reserveRequest(id, { workerId, spec, driver: { id: "a", ms: 4_000 }, ...more });
}

function move(workerId: string, more: Partial<MoveSandbox> = {}): MoveSandbox {
  return {
    workerId,
    spec: { provider: "oci", image: "host", resources: { memoryMb: 128 }, network: "none" },
    placement: { placement: { worker_id: workerId, strategy: "only", reason: "x", score: null, refused: [] }, asked: {} },
    previewDomain: "x.example.org",
    bounds: NO_AMOUNTS,
    driver: "a",
    ...more,
  };
}

/** Silence after which a run of a worker counts as over. */
const SILENT_MS = 30_000;

/** What a store promises of workers and what they were promised. */
export function describeWorkers(descriptor: StoreDescriptor): void {
  describe(`workers on ${descriptor.name}`, () => {
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

    const online = async (id: string): Promise<void> => {
      const { version } = await store.workers.add(id, { tenantId: null });
      await store.workers.beat(id, BEAT, SILENT_MS);
      await store.workers.change(id, version, { state: "online" });
    };
    const reserve = async (id: string, workerId: string, more: Partial<ReserveSandbox> = {}): Promise<SandboxRecord> => {
      const reservation = await store.sandboxes.reserve(request(id, workerId, more));
      if (reservation.kind !== "reserved") throw new Error(`not reserved but ${reservation.kind}`);
      return reservation.sandbox;
    };
    const reserved = async (id: string): Promise<Amounts | undefined> => (await store.workers.get(id))?.reserved;

    it("takes heartbeats in order, of the newest run only", async () => {
      expect(await store.workers.beat("w", BEAT, SILENT_MS)).toBeUndefined();
      await store.workers.add("w", { tenantId: "t" });
      expect(await store.workers.beat("w", BEAT, SILENT_MS)).toEqual({
        state: "pending",
        version: 1,
        adminDrain: false,
        providersDigest: "d1",
      });
      expect(await store.workers.beat("w", BEAT, SILENT_MS)).toBeUndefined();
      const { providers: _, ...plain } = BEAT;
      expect(await store.workers.beat("w", { ...plain, sequence: 3 }, SILENT_MS)).toMatchObject({ providersDigest: "d1" });
      expect(await store.workers.beat("w", { ...plain, sequence: 2 }, SILENT_MS)).toBeUndefined();
      expect(await store.workers.beat("w", { ...plain, session: "s2", sequence: 0 }, SILENT_MS)).toBeDefined();
      expect(await store.workers.beat("w", { ...plain, session: "s1", sequence: 9 }, SILENT_MS)).toBeUndefined();
      expect(await store.workers.get("w")).toMatchObject({
        session: "s2",
        previousSession: "s1",
        sequence: 0,
        tenantId: "t",
        version: 1,
        lastHeartbeatAt: START,
        images: ["debian:12"],
      });
      await store.workers.remove("w");
      expect(await store.workers.beat("w", { ...plain, session: "s2", sequence: 5 }, SILENT_MS)).toBeUndefined();
      // Taken back, it begins anew, and even its first run may speak.
      expect(await store.workers.add("w", { tenantId: null })).toMatchObject({ state: "pending", tenantId: null });
      expect(await store.workers.beat("w", BEAT, SILENT_MS)).toBeDefined();
      expect((await store.events.after(0, 10)).map(({ type }) => type)).toEqual(["worker.added", "worker.removed", "worker.added"]);
    });

    it("takes the run before again when its successor has fallen silent", async () => {
      await online("w");
      await store.workers.beat("w", { ...BEAT, session: "of long ago", sequence: 0 }, SILENT_MS);
      expect(await store.workers.beat("w", { ...BEAT, sequence: 9 }, SILENT_MS)).toBeUndefined();
      now += SILENT_MS + 1;
      expect(await store.workers.beat("w", { ...BEAT, sequence: 10 }, SILENT_MS)).toBeDefined();
      expect(await store.workers.get("w")).toMatchObject({ session: BEAT.session, previousSession: "of long ago", sequence: 10 });
    });

    it("lets one writer of a version win, and calls nobody silent who was just heard", async () => {
      await online("w");
      const seen = await store.workers.get("w");
      const both = await Promise.all([1, 2].map(() => store.workers.change("w", seen?.version ?? 0, { adminDrain: true })));
      expect(both.filter((one) => one !== undefined)).toHaveLength(1);
      now += 1_000;
      expect(await store.workers.silent(1_000)).toEqual([]);
      now += 1;
      const [late] = await store.workers.silent(1_000);
      expect(late).toMatchObject({ id: "w", adminDrain: true });
      await store.workers.beat("w", { ...BEAT, sequence: 2 }, SILENT_MS);
      const unreachable = { state: "unreachable", silentMs: 1_000, event: { type: "worker.unreachable", data: {} } } as const;
      expect(await store.workers.change("w", late?.version ?? 0, unreachable)).toBeUndefined();
      now += 1_001;
      expect(await store.workers.change("w", late?.version ?? 0, unreachable)).toMatchObject({ state: "unreachable" });
      expect(await store.workers.silent(1_000)).toEqual([]);
      expect((await store.events.after(0, 10)).at(-1)).toMatchObject({ type: "worker.unreachable", resource_id: "w", sandbox_id: null });
    });

    it("is reconciled by one control plane, until its time is over, it gives up, or it is dead", async () => {
      await online("w");
      const alive = (id: string): Promise<unknown> => store.controlPlanes.keepAlive({ id, url: "", build: "1" }, 20_000);
      await alive("a");
      await alive("b");
      const claims = await Promise.all(["a", "b"].map((id) => store.workers.claim("w", id, 30_000)));
      expect(claims.filter(Boolean)).toHaveLength(1);
      const [holder, other] = claims[0] === true ? ["a", "b"] : ["b", "a"];
      expect(await store.workers.claim("w", holder ?? "", 30_000)).toBe(true);
      expect(await store.workers.claim("w", other ?? "", 30_000)).toBe(false);
      now += 30_001;
      expect(await store.workers.claim("w", other ?? "", 30_000)).toBe(true);
      await store.workers.unclaim("w", holder ?? ""); // not its to give up
      expect(await store.workers.claim("w", holder ?? "", 30_000)).toBe(false);
      expect(await alive(holder ?? "")).toMatchObject([{ id: holder }]); // the other one is dead
      expect(await store.workers.claim("w", holder ?? "", 30_000)).toBe(true);
      await store.workers.unclaim("w", holder ?? "");
      expect((await store.workers.get("w"))?.reconciledBy).toBeNull();
    });

    it("writes each reservation with its own values, whatever those before it had", async () => {
      await online("w");
      await online("x");
      const room = bounds({ sandboxes: 9, vcpus: 9 });
      for (const [id, worker, metadata] of [
        ["sb1", "w", {}],
        ["sb2", "x", {}],
        ["sb3", "x", { b: "3", c: "4" }],
        ["sb4", "w", { a: "1", b: "2" }],
      ] as const) {
        now += 7;
        const made = await reserve(id, worker, { metadata, bounds: room, ownerId: `owner of ${id}` });
        expect(await store.sandboxes.get(id)).toEqual(made);
        expect(made).toMatchObject({ workerId: worker, createdAt: now });
        expect(await store.leases.get(id)).toEqual({ workerId: worker, epoch: 1 });
      }
      expect((await store.sandboxes.list({ states: "all", metadata: { b: "2" }, limit: 9 })).items.map(({ id }) => id)).toEqual(["sb4"]);
      expect((await reserved("x"))?.vcpus).toBeCloseTo(0.2);
      const little = { ...request("sb5", "w"), bounds: bounds({ sandboxes: 2, vcpus: 9 }) };
      expect(await store.sandboxes.reserve(little)).toEqual({ kind: "worker_full" });
    });

    it("promises no more than there is, however many ask at once, and gives back with the lease", async () => {
      await online("w");
      const at = { bounds: bounds({ memory_mb: 200, vcpus: 1 }) };
      const results = await Promise.all(Array.from({ length: 8 }, (_, i) => store.sandboxes.reserve(request(`sb${i}`, "w", at))));
      expect(results.filter(({ kind }) => kind === "reserved")).toHaveLength(3);
      expect(results.filter(({ kind }) => kind === "worker_full")).toHaveLength(5);
      expect(await reserved("w")).toEqual({ sandboxes: 3, memory_mb: 192, vcpus: expect.closeTo(0.3), disk_mb: 30 });
      expect((await store.sandboxes.list({ states: "all", metadata: {}, limit: 10 })).items).toHaveLength(3);
      const [one] = results.flatMap((result) => (result.kind === "reserved" ? [result.sandbox] : []));
      const id = one?.id ?? "";
      const ended = await store.sandboxes.apply(id, 1, STOPPED);
      expect((await reserved("w"))?.sandboxes).toBe(3);
      expect(await store.leases.release(id, 1)).toBe(false);
      expect(await store.leases.release(id, ended?.epoch ?? 0)).toBe(true);
      expect(await store.leases.release(id, ended?.epoch ?? 0)).toBe(false);
      expect(await reserved("w")).toMatchObject({ sandboxes: 2, memory_mb: 128 });
      expect(await store.workers.recount("w")).toBe(false);
    });

    it.each([[undefined], [{ key: "k", requestHash: "h" }]])(
      "writes all of a reservation or nothing of it, with the key %o",
      async (idempotency) => {
        await online("w");
        const told = async (): Promise<readonly unknown[]> => store.events.after(0, 10, { types: new Set(["sandbox.created"]) });
        const labelled = async (): Promise<readonly SandboxRecord[]> =>
          (await store.sandboxes.list({ states: "all", metadata: { team: "a", stage: "b" }, limit: 10 })).items;
        const at = (memory_mb: number): Partial<ReserveSandbox> => ({
          bounds: bounds({ memory_mb }),
          metadata: { team: "a", stage: "b", none: "" },
          env: { TOKEN: "secret" },
          ...(idempotency === undefined ? {} : { idempotency }),
        });
        expect(await store.sandboxes.reserve(request("sb1", "w", at(10)))).toEqual({ kind: "worker_full" });
        expect(await told()).toEqual([]);
        expect(await labelled()).toEqual([]);
        expect(await store.leases.get("sb1")).toBeUndefined();
        if (idempotency !== undefined) expect(await store.sandboxes.repeated(idempotency)).toBeUndefined();

        const reservation = await store.sandboxes.reserve(request("sb1", "w", at(1_000)));
        expect(reservation.kind).toBe("reserved");
        const made = await store.sandboxes.get("sb1");
        expect(reservation).toEqual({ kind: "reserved", sandbox: made });
        expect(made).toMatchObject({ metadata: { team: "a", stage: "b", none: "" }, env: { TOKEN: "secret" }, version: 1, epoch: 1 });
        expect(await labelled()).toEqual([made]);
        expect(await told()).toMatchObject([{ sandbox_id: "sb1", data: { worker_id: "w", image: "host" } }]);
        expect(await store.leases.ofWorker("w")).toEqual([{ sandbox: made, epoch: 1 }]);
        expect(await store.creations.driveOn("sb1", "a", 1_000)).toEqual(made);
        if (idempotency !== undefined) expect(await store.sandboxes.repeated(idempotency)).toEqual({ kind: "repeated", sandbox: made });
      },
    );

    it("promises nothing of a worker that takes none", async () => {
      await online("w");
      const refused = async (): Promise<void> => {
        expect((await store.sandboxes.reserve(request("sb1", "w", { bounds: NO_AMOUNTS }))).kind).toBe("worker_full");
        expect(await store.sandboxes.get("sb1")).toBeUndefined();
      };
      const { version } = (await store.workers.get("w")) ?? { version: 0 };
      await store.workers.change("w", version, { adminDrain: true });
      await refused();
      await store.workers.change("w", version + 1, { adminDrain: false });
      await store.workers.beat("w", { ...BEAT, sequence: 2, selfDrain: true }, SILENT_MS);
      await refused();
      await store.workers.beat("w", { ...BEAT, sequence: 3 }, SILENT_MS);
      await store.workers.change("w", version + 2, { state: "unreachable" });
      await refused();
      await store.workers.remove("w");
      await refused();
    });

    it("mends counters that are wrong", async () => {
      // Its leases are older than its row.
      await reserve("sb1", "w");
      await reserve("sb2", "w");
      await store.workers.add("w", { tenantId: null });
      expect(await reserved("w")).toMatchObject({ sandboxes: 2, memory_mb: 128, disk_mb: 20 });
      await store.workers.add("v", { tenantId: null });
      const at = Array.from({ length: 6 }, (_, i) => reserve(`sc${i}`, "v"));
      await Promise.all([...at, store.workers.recount("v"), store.workers.recount("v")]);
      expect(await store.workers.recount("v")).toBe(false);
      expect(await reserved("v")).toMatchObject({ sandboxes: 6, memory_mb: 384 });
    });

    it("moves a creation with lease and promise, for its driver, once", async () => {
      await online("w");
      await online("v");
      const seen = await reserve("sb1", "w", { bounds: NO_AMOUNTS });
      expect((await store.creations.move(seen, move("v", { driver: "b" }))).kind).toBe("lost");
      expect((await store.creations.move(seen, move("v", { bounds: bounds({ memory_mb: 127 }) }))).kind).toBe("worker_full");
      expect(await store.sandboxes.get("sb1")).toEqual(seen);
      const both = await Promise.all([1, 2].map(() => store.creations.move(seen, move("v"))));
      expect(both.map(({ kind }) => kind).toSorted()).toEqual(["lost", "moved"]);
      const now1 = await store.sandboxes.get("sb1");
      expect(now1).toMatchObject({
        workerId: "v",
        epoch: 2,
        version: 2,
        previewDomain: "x.example.org",
        spec: { resources: { memoryMb: 128 } },
      });
      expect(await store.leases.get("sb1")).toEqual({ workerId: "v", epoch: 2 });
      expect([await reserved("w"), await reserved("v")]).toEqual([
        { ...NO_AMOUNTS, vcpus: expect.closeTo(0) },
        { ...NO_AMOUNTS, sandboxes: 1, memory_mb: 128 },
      ]);
      expect((await store.events.after(0, 10)).at(-1)).toMatchObject({
        type: "sandbox.placed",
        data: { from: "w", worker_id: "v", epoch: 2 },
      });
      now += 4_000;
      if (now1 !== undefined) expect((await store.creations.move(now1, move("w"))).kind).toBe("lost");
    });

    it("raises the epoch of a creation and its lease by two, for its driver, once", async () => {
      const seen = await reserve("sb1", "w");
      expect(await store.creations.raise(seen, "b", 4_000)).toBeUndefined();
      expect(await store.sandboxes.get("sb1")).toEqual(seen);
      now += 3_999;
      const both = await Promise.all([1, 2].map(() => store.creations.raise(seen, "a", 4_000)));
      expect(both.filter((one) => one !== undefined)).toHaveLength(1);
      expect(await store.sandboxes.get("sb1")).toMatchObject({ epoch: 3, version: 2, state: "creating", workerId: "w" });
      expect(await store.leases.get("sb1")).toEqual({ workerId: "w", epoch: 3 });
      now += 3_999;
      expect(await store.creations.undriven(10)).toEqual([]);
      await store.sandboxes.apply("sb1", 2, STOPPED);
      expect(await store.creations.raise({ id: "sb1", epoch: 4 }, "a", 4_000)).toBeUndefined();
    });

    it("gives a creation one driver at a time, and tells which ones have none", async () => {
      await reserve("sb1", "w");
      expect(await store.creations.drive("sb1", "b", 4_000)).toBeUndefined();
      expect(await store.creations.driveOn("sb1", "b", 4_000)).toBeUndefined();
      now += 3_000;
      expect(await store.creations.driveOn("sb1", "a", 4_000)).toBeDefined();
      now += 3_999;
      expect(await store.creations.undriven(10)).toEqual([]);
      now += 1;
      expect((await store.creations.undriven(10)).map(({ id }) => id)).toEqual(["sb1"]);
      // Late, but nobody else came.
      expect(await store.creations.driveOn("sb1", "a", 1)).toBeDefined();
      now += 1;
      const taken = await Promise.all(["b", "c"].map((id) => store.creations.drive("sb1", id, 4_000)));
      expect(taken.filter((one) => one !== undefined)).toHaveLength(1);
      expect(await store.creations.driveOn("sb1", "a", 4_000)).toBeUndefined();
      await store.sandboxes.apply("sb1", 1, STOPPED);
      now += 10_000;
      expect(await store.creations.undriven(10)).toEqual([]);
      expect(await store.creations.drive("sb1", "a", 4_000)).toBeUndefined();
    });

    it("is not removed with sandboxes, and takes none when it was", async () => {
      await online("w");
      const sandbox = await reserve("sb1", "w");
      expect(await store.workers.remove("w")).toEqual({ kind: "in_use", sandboxIds: ["sb1"], count: 1 });
      await store.sandboxes.apply(sandbox.id, 1, STOPPED);
      // Removing and putting one on it at the same moment: one of the two finds the other.
      const [removal, put] = await Promise.all([
        store.workers.remove("w"),
        store.sandboxes.reserve(request("sb2", "w", { bounds: NO_AMOUNTS })),
      ]);
      expect([removal.kind, put.kind]).toBeOneOf([
        ["removed", "worker_full"],
        ["in_use", "reserved"],
      ] as never);
      expect(await store.workers.remove("nobody")).toEqual({ kind: "unknown" });
    });

    it("finds sandboxes by their worker's state", async () => {
      await online("w");
      await online("v");
      await reserve("sb1", "w");
      await reserve("sb2", "v");
      const seen = await store.workers.get("w");
      await store.workers.change("w", seen?.version ?? 0, { state: "unreachable" });
      const ids = async (...args: Parameters<typeof store.leases.sandboxesOf>): Promise<string[]> =>
        (await store.leases.sandboxesOf(...args)).map(({ id }) => id);
      expect(await ids({ states: ["unreachable"] }, ["creating"], 10)).toEqual(["sb1"]);
      expect(await ids({ states: ["unreachable"] }, ["running"], 10)).toEqual([]);
      expect(await ids({ ids: ["v", "w"] }, ["creating"], 10)).toEqual(["sb1", "sb2"]);
      expect(await ids({ ids: ["v", "w"] }, ["creating"], 1)).toEqual(["sb1"]);
    });

    it("is forgotten when it was removed long ago and nothing of it is left", async () => {
      await online("w");
      await reserve("sb1", "w");
      await online("v");
      await online("u");
      await store.sandboxes.apply("sb1", 1, STOPPED);
      for (const id of ["w", "v"]) await store.workers.remove(id);
      now += 8 * 86_400_000;
      await store.purge();
      expect((await store.workers.list({ states: ["removed", "online"] })).map(({ id }) => id)).toEqual(["u", "w"]);
      await store.leases.release("sb1", 2);
      await store.purge();
      expect((await store.workers.list({ states: ["removed", "online"] })).map(({ id }) => id)).toEqual(["u"]);
    });
  });
}
