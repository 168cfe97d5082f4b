import { describe, expect, it, vi } from "vitest";
import { NO_AMOUNTS, type PlacementRecord } from "@caisson/store";
import { FleetWorld } from "../testing/fleet-world.ts";
import { MemoryHost, MemoryMachine } from "../testing/memory-host.ts";

describe("draining", () => {
  it("keeps sandboxes and takes no new ones, on every control plane, until it is undone", async () => {
    await using world = await FleetWorld.open();
    const a = await world.plane("a");
    const b = await world.plane("b");
    const worker = await world.worker("w1", [a, b]);
    const { id } = await world.until(a.orchestrator.create({}));
    expect(await a.orchestrator.workers.drain("w1")).toMatchObject({ state: "draining", draining: "admin" });
    expect(await a.orchestrator.workers.drain("w1")).toMatchObject({ state: "draining" });
    for (const plane of [a, b]) {
      expect(await world.failure(plane.orchestrator.create({}))).toMatchObject({
        code: "worker_unavailable",
        detail: { workers: [{ worker_id: "w1", reason: "An admin drains it." }] },
      });
    }
    expect(await worker.links.get("b")?.session.heartbeat(worker.heartbeat())).toMatchObject({ drain: true });
    await worker.live(30_000);
    expect(await a.orchestrator.get(id)).toMatchObject({ state: "running" });
    expect(await b.orchestrator.workers.undrain("w1")).toMatchObject({ state: "online", draining: "no" });
    expect(await world.until(b.orchestrator.create({}))).toMatchObject({ state: "running" });
    expect((await world.events("worker.online", "worker.draining")).map(({ type, data }) => [type, data["by"]])).toEqual([
      ["worker.online", null],
      ["worker.draining", "admin"],
      ["worker.online", "admin"],
    ]);
  });

  it("by the worker itself is another matter than by an admin", async () => {
    await using world = await FleetWorld.open();
    const a = await world.plane("a");
    const worker = await world.worker("w1", [a]);
    const session = worker.links.get("a")?.session;
    expect(await session?.heartbeat(worker.heartbeat({ draining: true }))).toMatchObject({ drain: false });
    expect(await worker.shown(a)).toMatchObject({ state: "draining", draining: "worker" });
    expect(await a.orchestrator.workers.undrain("w1")).toMatchObject({ state: "draining" });
    await session?.heartbeat(worker.heartbeat());
    expect(await worker.shown(a)).toMatchObject({ state: "online" });
  });

  it("holds for a worker that is away, and shows when it is back", async () => {
    await using world = await FleetWorld.open();
    const a = await world.plane("a");
    const worker = await world.worker("w1", [a]);
    await worker.live(100_000);
    worker.cutOff();
    await world.pass(100_000);
    expect(await a.orchestrator.workers.drain("w1")).toMatchObject({ state: "unreachable", draining: "admin" });
    await worker.link(a);
    expect(await worker.shown(a)).toMatchObject({ state: "draining" });
  });
});

describe("removing", () => {
  it("is refused while there are sandboxes, with their ids", async () => {
    await using world = await FleetWorld.open();
    const a = await world.plane("a");
    await world.worker("w1", [a]);
    const made = await world.until(Promise.all([a.orchestrator.create({}), a.orchestrator.create({})]));
    expect(await world.failure(a.orchestrator.workers.remove("w1"))).toMatchObject({
      code: "worker_in_use",
      detail: { worker_id: "w1", count: 2, sandbox_ids: made.map(({ id }) => id).toSorted() },
    });
    expect(await a.orchestrator.workers.get("w1")).toMatchObject({ state: "online" });
    for (const { id } of made) await world.until(a.orchestrator.destroy(id));
    expect(await world.until(a.orchestrator.workers.remove("w1"))).toMatchObject({ state: "removed" });
    expect(await world.until(a.orchestrator.workers.remove("w1"))).toMatchObject({ state: "removed" });
    expect(await world.events("worker.removed")).toHaveLength(1);
  });

  it("by force destroys them and evicts its links, on every control plane", async () => {
    await using world = await FleetWorld.open();
    const a = await world.plane("a");
    const b = await world.plane("b");
    const worker = await world.worker("w1", [a, b]);
    const { id } = await world.until(a.orchestrator.create({}));
    const sessions = [...worker.links.values()].map(({ session }) => session);
    expect(await world.until(a.orchestrator.workers.remove("w1", { force: true }))).toMatchObject({ state: "removed" });
    expect(worker.machine.boxes.size).toBe(0);
    expect(await a.orchestrator.get(id)).toMatchObject({ state: "destroyed" });
    expect(await world.store.leases.get(id)).toBeUndefined();
    await world.pass(6_000);
    for (const session of sessions) expect(session.ended.reason).toMatchObject({ code: "unauthorized" });
    expect([...a.hosts.ids(), ...b.hosts.ids()]).toEqual([]);
    expect((await a.orchestrator.workers.list({})).items).toEqual([]);
    expect((await a.orchestrator.workers.list({ state: "removed" })).items).toMatchObject([{ id: "w1" }]);
  });

  it("by force leaves alone what has gone on to another worker meanwhile", async () => {
    await using world = await FleetWorld.open();
    const a = await world.plane("a");
    await world.worker("w1", [a]);
    await world.worker("w2", [a]);
    const spec = { provider: "memory", image: "host", resources: {}, network: "none" } as const;
    const placed = { spec, placement: null, previewDomain: null };
    const reservation = await world.store.sandboxes.reserve({
      ...placed,
      id: "sb1",
      workerId: "w1",
      ownerId: null,
      tenantId: null,
      env: {},
      metadata: {},
      ttlMs: 600_000,
      deadlineMs: 120_000,
      maxLive: 0,
      driver: { id: "another", ms: 60_000 },
    });
    if (reservation.kind !== "reserved") throw new Error(reservation.kind);
    const { workers, creations } = world.store;
    const remove = workers.remove.bind(workers);
    // Another control plane moves it right after it was counted.
    vi.spyOn(workers, "remove").mockImplementationOnce(async (id) => {
      const removal = await remove(id);
      const record: PlacementRecord = { placement: { worker_id: "w2", strategy: "only", reason: "", score: null, refused: [] }, asked: {} };
      const bounds = NO_AMOUNTS;
      const moved = await creations.move(reservation.sandbox, { ...placed, placement: record, workerId: "w2", driver: "another", bounds });
      expect([removal.kind, moved.kind]).toEqual(["in_use", "moved"]);
      return removal;
    });
    expect(await world.until(a.orchestrator.workers.remove("w1", { force: true }))).toMatchObject({ id: "w1", state: "removed" });
    expect(await a.orchestrator.get("sb1")).toMatchObject({ state: "creating", worker_id: "w2" });
  });

  it("by force does not wait for one that is away; it is refused, and cleaned up when it joins again", async () => {
    await using world = await FleetWorld.open();
    const a = await world.plane("a");
    const worker = await world.worker("w1", [a]);
    const { id } = await world.until(a.orchestrator.create({}));
    worker.cutOff();
    expect(await world.until(a.orchestrator.workers.remove("w1", { force: true }))).toMatchObject({ state: "removed" });
    await world.pass(6_000);
    expect(await world.store.leases.get(id)).toBeUndefined();
    await expect(worker.link(a)).rejects.toMatchObject({ code: "unauthorized" });
    await expect(worker.link(a)).rejects.toMatchObject({ code: "unauthorized" });
    expect(await world.events("worker.refused")).toMatchObject([{ resource_id: "w1", data: { reason: "removed" } }]);
    expect(worker.machine.boxes.size).toBe(1);
    await world.store.workers.add("w1", { tenantId: null });
    await worker.link(a);
    await world.pass(1_000);
    expect(worker.machine.boxes.size).toBe(0);
    expect(await worker.shown(a)).toMatchObject({ state: "online", reserved: { sandboxes: 0 } });
    expect(await a.orchestrator.get(id)).toMatchObject({ state: "destroyed" });
  });

  it("of the worker in the server holds until the server starts again", async () => {
    await using world = await FleetWorld.open();
    const a = await world.plane("only");
    const machine = new MemoryMachine("local");
    a.orchestrator.attach(new MemoryHost(machine));
    await world.pass(100);
    expect(await world.until(a.orchestrator.create({}))).toMatchObject({ worker_id: "local" });
    expect(await a.orchestrator.workers.get("local")).toMatchObject({ credential: "local", state: "online" });
    await world.until(a.orchestrator.workers.remove("local", { force: true }));
    await world.pass(60_000);
    expect(await world.failure(a.orchestrator.create({}))).toMatchObject({ code: "worker_unavailable" });
    expect(await a.orchestrator.workers.get("local")).toMatchObject({ state: "removed" });
    await world.until(a.close());
    world.planes.length = 0;
    const again = await world.plane("only");
    again.orchestrator.attach(new MemoryHost(machine));
    await world.pass(100);
    expect(await world.until(again.orchestrator.create({}))).toMatchObject({ worker_id: "local" });
  });
});

describe("revoking", () => {
  it("refuses what a worker shows from then on, and ends its links; its sandboxes live on", async () => {
    await using world = await FleetWorld.open();
    const revoked = new Set<string>();
    const identities = {
      revoke: async (id: string) => void revoked.add(id),
      stillGood: async ({ workerId }: { readonly workerId: string }) => !revoked.has(workerId),
    };
    const [a, b] = [await world.plane("a", { identities }), await world.plane("b", { identities })];
    const worker = await world.worker("w1", [a, b]);
    const { id } = await world.until(a.orchestrator.create({}));
    const [here, there] = [worker.links.get("a")?.session, worker.links.get("b")?.session];
    expect(await a.orchestrator.workers.revoke("w1")).toMatchObject({ id: "w1", state: "online" });
    expect(here?.ended.reason).toMatchObject({ code: "unauthorized" });
    // On another control plane with its next heartbeat.
    await expect(there?.heartbeat(worker.heartbeat())).rejects.toMatchObject({ code: "unauthorized" });
    expect(there?.ended.aborted).toBe(true);
    await world.pass(10_000);
    expect(worker.machine.boxes.has(id)).toBe(true);
    revoked.clear();
    await worker.link(a);
    expect(await a.orchestrator.get(id)).toMatchObject({ state: "running" });
  });
});

it("a revoked worker that holds back its heartbeats loses its links all the same", async () => {
  await using world = await FleetWorld.open();
  let good = true;
  const identities = { revoke: async () => void (good = false), stillGood: async () => good };
  const [a, b] = [await world.plane("a", { identities }), await world.plane("b", { identities })];
  const worker = await world.worker("w1", [a, b]);
  const { id } = await world.until(a.orchestrator.create({}));
  const unheard = b.orchestrator.sessions.open(worker.identity, new MemoryHost(worker.machine));
  const there = worker.links.get("b")?.session;
  await world.pass(60_000);
  expect([there?.ended.aborted, unheard.ended.aborted]).toEqual([false, false]);
  await a.orchestrator.workers.revoke("w1");
  await there?.report({ sandbox_id: id, epoch: 1 });
  await world.pass(21_000);
  for (const session of [there, unheard]) expect(session?.ended.reason).toMatchObject({ code: "unauthorized" });
  expect(b.hosts.ids()).toEqual([]);
  await expect(there?.report({ sandbox_id: id, epoch: 1 })).rejects.toMatchObject({ code: "unauthorized" });
});

describe("lists of workers", () => {
  it("are pages by id, of the states that are named", async () => {
    await using world = await FleetWorld.open();
    const a = await world.plane("a");
    await Promise.all(["w3", "w1", "w2"].map((id) => world.worker(id, [a])));
    await a.orchestrator.workers.drain("w2");
    const first = await a.orchestrator.workers.list({ limit: 2 });
    expect(first.items.map(({ id }) => id)).toEqual(["w1", "w2"]);
    const second = await a.orchestrator.workers.list({ limit: 2, cursor: first.next_cursor ?? "" });
    expect(second).toMatchObject({ items: [{ id: "w3" }], next_cursor: null });
    expect((await a.orchestrator.workers.list({ state: "draining,unreachable" })).items.map(({ id }) => id)).toEqual(["w2"]);
    expect(await world.failure(a.orchestrator.workers.list({ state: "happy" }))).toMatchObject({
      code: "invalid_request",
      errors: [{ path: "state" }],
    });
    for (const call of ["get", "drain", "undrain", "revoke", "remove"] as const) {
      expect(await world.failure(a.orchestrator.workers[call]("nobody"))).toMatchObject({ code: "worker_not_found" });
    }
  });
});
