import { CaissonError, heartbeatReplySchema } from "@caisson/contract";
import { describe, expect, it, vi } from "vitest";
import { DEFAULT_FLEET } from "./fleet-settings.ts";
import { FleetWorld } from "../testing/fleet-world.ts";

describe("heartbeats", () => {
  it("make a worker known, keep its row, and answer with all that it needs", async () => {
    await using world = await FleetWorld.open();
    const keys = { keys: [{ kty: "OKP", kid: "k1" }] };
    const a = await world.plane("a", { keys: async () => keys });
    await world.plane("b");
    await world.pass(5_000);
    const worker = await world.worker("w1", [], { labels: { zone: "x" }, preview_domain: "w1.example.org" });
    const session = await worker.link(a);
    expect(await session.heartbeat(worker.heartbeat())).toEqual({
      lease_ms: 90_000,
      send_providers: false,
      drain: false,
      control_planes: [
        { id: "a", url: "http://a" },
        { id: "b", url: "http://b" },
      ],
      now: world.clock.now(),
      keys,
    });
    expect(await worker.shown(a)).toMatchObject({
      id: "w1",
      state: "online",
      late: false,
      credential: "static",
      labels: { zone: "x" },
      preview_domain: "w1.example.org",
      providers: [{ name: "memory" }],
    });
    expect((await world.events("worker.added", "worker.online")).map(({ resource_id: id, type }) => [id, type])).toEqual([
      ["w1", "worker.added"],
      ["w1", "worker.online"],
    ]);
  });

  it("carry providers only when they changed, and ask for those that are not known", async () => {
    await using world = await FleetWorld.open();
    const a = await world.plane("a");
    const worker = await world.worker("w1", []);
    const session = await worker.link(a);
    const { providers: _, ...without } = worker.heartbeat();
    expect(await session.heartbeat(without)).toMatchObject({ send_providers: false });
    expect((await worker.shown(a)).providers).toHaveLength(1);
    const { providers: __, ...changed } = worker.heartbeat({ providers_digest: "d2" });
    expect(await session.heartbeat(changed)).toMatchObject({ send_providers: true });
    expect(await session.heartbeat(worker.heartbeat({ providers_digest: "d2", providers: [] }))).toMatchObject({ send_providers: false });
    expect((await worker.shown(a)).providers).toEqual([]);
  });

  it("tell of a public address at which the worker does not find itself, until it does", async () => {
    await using world = await FleetWorld.open();
    const a = await world.plane("a");
    const worker = await world.worker("w1", [a], { public_url: "https://w1.example.org" });
    const told = async (public_url_problem: string | null | undefined): Promise<string | null> => {
      await worker.links.get("a")?.session.heartbeat(worker.heartbeat({ public_url_problem }));
      return (await worker.shown(a)).public_url_problem;
    };
    // As by a release that does not look.
    expect((await worker.shown(a)).public_url_problem).toBeNull();
    expect(await told("nothing answers")).toBe("nothing answers");
    expect(await told(null)).toBeNull();
    expect(await told("nothing answers")).toBe("nothing answers");
    expect(await told(undefined)).toBeNull();
  });

  it("that are late or of a run before change nothing", async () => {
    await using world = await FleetWorld.open();
    const a = await world.plane("a");
    const b = await world.plane("b");
    const worker = await world.worker("w1", [a, b]);
    const session = worker.links.get("a")?.session;
    const old = worker.heartbeat({ labels: { age: "old" } });
    await session?.heartbeat(worker.heartbeat({ labels: { age: "new" } }));
    expect(await session?.heartbeat(old)).toMatchObject({ lease_ms: 90_000 });
    expect((await worker.shown(a)).labels).toEqual({ age: "new" });
    // The process is another one: what the one before still says is refused.
    worker.run = "run-2";
    worker.sequence = 0;
    await worker.link(a);
    worker.run = "run-1";
    worker.sequence = 50;
    const before = worker.links.get("b")?.session;
    await expect(before?.heartbeat(worker.heartbeat())).rejects.toMatchObject({ code: "lease_lost" });
    expect(before?.ended.aborted).toBe(true);
    expect(await world.store.workers.get("w1")).toMatchObject({ session: "run-2", previousSession: "run-1", sequence: 1 });
  });

  it("cost one write of one row, whatever the number of sandboxes", async () => {
    await using world = await FleetWorld.open();
    const a = await world.plane("a");
    const worker = await world.worker("w1", [a]);
    for (let i = 0; i < 20; i += 1) await world.until(a.orchestrator.create({}));
    const before = await world.store.workers.get("w1");
    const seq = (await world.events()).length;
    await worker.beat();
    const { lastHeartbeatAt: _, sequence: __, updatedAt: ___, ...rest } = (await world.store.workers.get("w1")) ?? {};
    expect(before).toMatchObject(rest);
    expect(await world.events()).toHaveLength(seq);
  });
});

describe("silence", () => {
  it("is late, then unreachable, and its end makes all as it was", async () => {
    await using world = await FleetWorld.open();
    const a = await world.plane("a");
    const worker = await world.worker("w1", [a]);
    const [lives, dies] = await world.until(Promise.all([a.orchestrator.create({}), a.orchestrator.create({})]));
    await worker.live(100_000);
    worker.cutOff();
    await world.pass(29_000);
    expect(await a.orchestrator.get(lives.id)).toMatchObject({ state: "running" });
    await world.pass(7_000);
    expect(await worker.shown(a)).toMatchObject({ state: "online", late: true });
    expect(await a.orchestrator.get(lives.id)).toMatchObject({
      state: "unhealthy",
      reason: { code: "worker_unavailable", message: expect.stringContaining("w1") },
    });
    await world.pass(60_000);
    expect(await worker.shown(a)).toMatchObject({ state: "unreachable" });
    expect(await a.orchestrator.get(lives.id)).toMatchObject({ state: "missing" });
    expect(await world.events("worker.unreachable")).toHaveLength(1);
    expect(await world.failure(a.orchestrator.withGuest(lives.id, "stats", () => Promise.resolve()))).toMatchObject({
      code: "worker_unavailable",
      retryAfter: 10,
      entry: { status: 503 },
    });
    worker.machine.boxes.delete(dies.id);
    worker.machine.haunt("sb1orphan", 1);
    await worker.link(a);
    await world.pass(1_000);
    expect(await worker.shown(a)).toMatchObject({ state: "online", late: false });
    expect(await a.orchestrator.get(lives.id)).toMatchObject({ state: "running", reason: null });
    expect(await a.orchestrator.get(dies.id)).toMatchObject({ state: "stopped", reason: { code: "box_gone" } });
    expect([...worker.machine.boxes.keys()]).toEqual([lives.id]);
  });

  it("of a worker that answers all the same is told once, and over with its next heartbeat", async () => {
    await using world = await FleetWorld.open();
    const a = await world.plane("a");
    const worker = await world.worker("w1", [a]);
    const { id } = await world.until(a.orchestrator.create({}));
    await worker.live(100_000);
    const told = async (): Promise<string[]> =>
      (await world.events()).filter(({ sandbox_id: of }) => of === id).map(({ type }) => type.replace("sandbox.", ""));
    // Its link is there and each inventory passes; only what it says by itself does not.
    await world.pass(85_000);
    expect(await told()).toEqual(["created", "running", "unhealthy"]);
    await worker.beat();
    await world.pass(11_000);
    expect(await told()).toEqual(["created", "running", "unhealthy", "running"]);
    await world.pass(200_000);
    expect(await told()).toEqual(["created", "running", "unhealthy", "running", "unhealthy", "missing"]);
    await worker.beat();
    await world.pass(1_000);
    expect(await told()).toEqual(["created", "running", "unhealthy", "running", "unhealthy", "missing", "running"]);
  });

  it("of some workers leaves the others' sandboxes as they are", async () => {
    await using world = await FleetWorld.open();
    const a = await world.plane("a");
    const [quiet, loud] = await Promise.all([world.worker("quiet", [a]), world.worker("loud", [a])]);
    const lost = await world.until(a.orchestrator.create({ worker_id: "quiet" }));
    const kept = await world.until(a.orchestrator.create({ worker_id: "loud" }));
    await loud.live(100_000);
    await quiet.beat();
    quiet.cutOff();
    await loud.live(110_000);
    const shown = async (query: Parameters<typeof a.orchestrator.list>[0]): Promise<unknown[]> =>
      (await a.orchestrator.list(query)).items.map(({ id, state }) => [id, state]);
    expect(await shown({ worker_id: "quiet" })).toEqual([[lost.id, "missing"]]);
    expect(await shown({ worker_id: "loud" })).toEqual([[kept.id, "running"]]);
    expect(await shown({ worker_id: "nobody" })).toEqual([]);
  });

  it("towards one control plane is none while another one hears", async () => {
    await using world = await FleetWorld.open();
    const a = await world.plane("a");
    const b = await world.plane("b");
    const worker = await world.worker("w1", [a, b]);
    const { id } = await world.until(a.orchestrator.create({}));
    const cut = worker.links.get("a");
    if (cut !== undefined) cut.host.cut = true;
    cut?.session.close();
    worker.links.delete("a");
    await worker.live(200_000);
    expect(await worker.shown(a)).toMatchObject({ state: "online", late: false });
    expect(await a.orchestrator.get(id)).toMatchObject({ state: "running" });
    // From here there is no way to it, and a caller is told so at once; from there there is.
    expect(await world.failure(a.orchestrator.create({}))).toMatchObject({ code: "worker_unavailable" });
    expect(await world.until(b.orchestrator.create({}))).toMatchObject({ state: "running" });
  });

  it("of a control plane that was stopped is not the workers' fault", async () => {
    await using world = await FleetWorld.open();
    const a = await world.plane("a");
    const worker = await world.worker("w1", [a]);
    const { id } = await world.until(a.orchestrator.create({}));
    a.kill();
    await world.pass(600_000);
    const b = await world.plane("b");
    await world.pass(20_000);
    expect(await worker.shown(b)).toMatchObject({ state: "online", late: true });
    expect(await b.orchestrator.get(id)).toMatchObject({ state: "running" });
    await worker.link(b);
    await worker.live(120_000);
    expect(await b.orchestrator.get(id)).toMatchObject({ state: "running" });
    expect(await world.events("worker.unreachable")).toEqual([]);
  });

  it("while the database was away is not the workers' fault", async () => {
    await using world = await FleetWorld.open();
    const a = await world.plane("a", { fleet: { ...DEFAULT_FLEET, lateAfterMs: 3_000, unreachableAfterMs: 9_000 } });
    const worker = await world.worker("w1", [a]);
    const { id } = await world.until(a.orchestrator.create({}));
    for (let second = 0; second < 30; second += 1) {
      await worker.beat();
      await world.pass(1_000);
    }
    const away = vi.spyOn(world.store.workers, "silent").mockRejectedValue(new CaissonError("database_unavailable", "It is away."));
    await world.pass(12_000);
    away.mockRestore();
    await world.pass(1_500);
    expect(await a.orchestrator.get(id)).toMatchObject({ state: "running" });
    await worker.beat();
    await world.pass(1_000);
    expect(await a.orchestrator.get(id)).toMatchObject({ state: "running" });
    expect(await world.events("worker.unreachable")).toEqual([]);
    // Silence that goes on is theirs.
    worker.cutOff();
    await world.pass(20_000);
    expect(await a.orchestrator.get(id)).toMatchObject({ state: "missing" });
  });

  it("lets a sandbox end: at its time, or by its user, at once, with its lease", async () => {
    await using world = await FleetWorld.open();
    const a = await world.plane("a");
    const worker = await world.worker("w1", [a]);
    const [unwanted, short, long] = await world.until(
      Promise.all([a.orchestrator.create({}), a.orchestrator.create({ ttl: "4m" }), a.orchestrator.create({})]),
    );
    await worker.live(100_000);
    worker.cutOff();
    await world.pass(100_000);
    const begun = world.clock.monotonic();
    expect(await world.until(a.orchestrator.destroy(unwanted.id))).toMatchObject({ state: "destroyed" });
    expect(world.clock.monotonic() - begun).toBeLessThan(100);
    expect(await world.store.leases.get(unwanted.id)).toBeUndefined();
    await world.pass(60_000);
    expect(await a.orchestrator.get(short.id)).toMatchObject({ state: "expired" });
    expect(await world.store.leases.get(short.id)).toBeUndefined();
    expect((await worker.shown(a)).reserved.sandboxes).toBe(1);
    expect(worker.machine.boxes.size).toBe(3);
    await worker.link(a);
    await world.pass(1_000);
    expect([...worker.machine.boxes.keys()]).toEqual([long.id]);
    // By the epoch that came after: a start that was on its way for minutes finds it taken.
    expect(worker.machine.calls).toContain(`destroy ${short.id} 2`);
    await expect(
      worker.machine.start({ sandboxId: short.id, epoch: 1, provider: "memory", image: "host", resources: {}, env: {}, network: "none" }),
    ).rejects.toMatchObject({ code: "lease_lost" });
    expect(await world.events("worker.refused")).toEqual([]);
  });
});

describe("control planes", () => {
  it("know each other, and who falls silent is dead", async () => {
    await using world = await FleetWorld.open();
    const a = await world.plane("a");
    const b = await world.plane("b");
    const worker = await world.worker("w1", [a, b]);
    const heard = async (): Promise<string[]> => {
      const reply = await worker.links.get("a")?.session.heartbeat(worker.heartbeat());
      return (reply?.control_planes ?? []).map(({ id }) => id);
    };
    await world.pass(5_000);
    expect(await heard()).toEqual(["a", "b"]);
    b.kill();
    await world.pass(27_000);
    expect(await heard()).toEqual(["a"]);
  });

  it("are named in replies that workers take, however often one of them restarts", async () => {
    await using world = await FleetWorld.open();
    const z = await world.plane("z");
    for (let life = 0; life < 100; life += 1)
      await world.store.controlPlanes.keepAlive({ id: `crashing-${life}`, url: "http://crashing", build: "1" }, 20_000);
    const worker = await world.worker("w1", []);
    await world.pass(5_000);
    const reply = await (await worker.link(z)).heartbeat(worker.heartbeat());
    expect(heartbeatReplySchema.parse(reply).control_planes).toHaveLength(64);
    expect(reply.control_planes[0]).toEqual({ id: "z", url: "http://z" });
  });

  it("reconcile a worker one at a time; the claim of a dead one is taken", async () => {
    await using world = await FleetWorld.open();
    const a = await world.plane("a");
    const b = await world.plane("b");
    const worker = await world.worker("w1", [a, b]);
    await worker.live(30_000);
    expect((await world.store.workers.get("w1"))?.reconciledBy).toBe("a");
    const { id } = await world.until(a.orchestrator.create({}));
    a.kill();
    worker.machine.boxes.delete(id);
    await worker.live(45_000);
    expect((await world.store.workers.get("w1"))?.reconciledBy).toBe("b");
    expect(await b.orchestrator.get(id)).toMatchObject({ state: "stopped" });
  });

  it("leave a worker to another one that has a better way to it", async () => {
    await using world = await FleetWorld.open();
    const a = await world.plane("a");
    const b = await world.plane("b");
    const worker = await world.worker("w1", [a, b]);
    const { id } = await world.until(a.orchestrator.create({}));
    expect((await world.store.workers.get("w1"))?.reconciledBy).toBe("a");
    // What goes from a to it is lost, though all it says arrives.
    const way = worker.links.get("a");
    if (way !== undefined) way.host.cut = true;
    worker.machine.boxes.delete(id);
    await worker.live(30_000);
    expect((await world.store.workers.get("w1"))?.reconciledBy).toBe("b");
    expect(await a.orchestrator.get(id)).toMatchObject({ state: "stopped" });
  });

  it("go on with a creation whose driver died, within seconds, and its other callers hear of it", async () => {
    await using world = await FleetWorld.open();
    const a = await world.plane("a");
    const b = await world.plane("b");
    const worker = await world.worker("w1", [a, b]);
    const slow = Promise.withResolvers<void>();
    worker.machine.onStart = () => slow.promise;
    const lost = a.orchestrator.create({}, { idempotencyKey: "k" });
    lost.catch(() => undefined);
    await world.pass(10_000);
    const waiting = b.orchestrator.create({}, { idempotencyKey: "k" });
    await world.pass(1_000);
    expect(worker.machine.calls).toHaveLength(1);
    a.kill();
    worker.machine.onStart = undefined;
    const begun = world.clock.monotonic();
    expect(await world.until(waiting)).toMatchObject({ state: "running" });
    expect(world.clock.monotonic() - begun).toBeLessThan(6_000);
    expect(worker.machine.calls).toHaveLength(2);
    slow.resolve();
  });

  it("go on with a creation for which nobody waits any more", async () => {
    await using world = await FleetWorld.open();
    const a = await world.plane("a");
    const b = await world.plane("b");
    const worker = await world.worker("w1", [a, b]);
    worker.machine.onStart = () => new Promise(() => undefined);
    a.orchestrator.create({}).catch(() => undefined);
    await world.pass(10_000);
    a.kill();
    worker.machine.onStart = undefined;
    await world.pass(6_000);
    expect((await b.orchestrator.list({})).items).toMatchObject([{ state: "running" }]);
    expect(worker.machine.calls).toHaveLength(2);
  });

  it("leave a creation to one that has a way to its worker", async () => {
    await using world = await FleetWorld.open();
    const [a, b, c] = [await world.plane("a"), await world.plane("b"), await world.plane("c")];
    const worker = await world.worker("w1", [a, c]);
    worker.machine.onStart = () => new Promise(() => undefined);
    a.orchestrator.create({}, { idempotencyKey: "k" }).catch(() => undefined);
    await world.pass(1_000);
    const waiting = b.orchestrator.create({}, { idempotencyKey: "k" });
    await world.pass(1_000);
    a.kill();
    worker.machine.onStart = undefined;
    const begun = world.clock.monotonic();
    expect(await world.until(waiting)).toMatchObject({ state: "running" });
    expect(world.clock.monotonic() - begun).toBeLessThan(6_000);
    expect((await world.store.workers.get("w1"))?.reconciledBy).not.toBe("b");
    expect(c.hosts.ids()).toEqual(["w1"]);
  });

  it("give a creation up when their way to its worker breaks before it was asked", async () => {
    await using world = await FleetWorld.open();
    const [a, b] = [await world.plane("a"), await world.plane("b")];
    const worker = await world.worker("w1", [a, b]);
    // Chosen, and gone before it is asked.
    const off = world.store.events.onAppend(() => {
      off();
      worker.links.get("a")?.session.close();
    });
    const made = a.orchestrator.create({});
    const begun = world.clock.monotonic();
    expect(await world.until(made)).toMatchObject({ state: "running", worker_id: "w1" });
    expect(world.clock.monotonic() - begun).toBeLessThan(6_000);
    expect(worker.machine.calls).toHaveLength(1);
  });

  it("write at once after one of them was killed", async () => {
    await using world = await FleetWorld.open();
    const a = await world.plane("a");
    const b = await world.plane("b");
    await world.worker("w1", [a, b]);
    const one = await world.until(a.orchestrator.create({}));
    a.kill();
    const begun = world.clock.monotonic();
    await world.until(b.orchestrator.extend(one.id, 60_000));
    await world.until(b.orchestrator.create({}));
    await world.until(b.orchestrator.destroy(one.id));
    expect(world.clock.monotonic() - begun).toBeLessThan(1_000);
  });
});
