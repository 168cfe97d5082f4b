import { CaissonError, toCaissonError } from "@caisson/contract";
import { describe, expect, it, vi } from "vitest";
import { FleetWorld, type Plane, type TestWorker } from "../testing/fleet-world.ts";
import type { WorkerIdentity } from "./worker-identities.ts";

interface Two {
  readonly world: FleetWorld;
  readonly a: Plane;
  readonly honest: TestWorker;
  readonly liar: TestWorker;
  /** A sandbox of the honest one. */
  readonly id: string;
}

/** A worker with a sandbox, and one that lies. */
async function two(world: FleetWorld): Promise<Two> {
  const a = await world.plane("a");
  const [honest, liar] = await Promise.all([world.worker("honest", [a]), world.worker("liar", [a])]);
  const { id } = await world.until(a.orchestrator.create({ worker_id: "honest" }));
  return { world, a, honest, liar, id };
}

const refused = async (world: FleetWorld): Promise<unknown[]> =>
  (await world.events("worker.refused")).map(({ resource_id: worker, data }) => [worker, data["reason"], data["sandbox_id"]]);

describe("an inventory that lies", () => {
  it("with a sandbox of another worker, under its epoch or a higher one, is refused and changes no row", async () => {
    await using world = await FleetWorld.open();
    const { honest, liar, id } = await two(world);
    const before = await world.store.sandboxes.get(id);
    for (const epoch of [1, 7]) {
      liar.machine.haunt(id, epoch);
      // Longer than the time in which one lie is told once.
      for (let passed = 0; passed < 70_000; passed += 10_000) {
        await liar.live(10_000);
        await honest.beat();
      }
    }
    const lie = ["liar", "foreign_sandbox", id];
    expect(await refused(world)).toEqual([lie, lie]);
    expect(liar.machine.boxes.size).toBe(0);
    expect(honest.machine.boxes.size).toBe(1);
    expect(await world.store.sandboxes.get(id)).toEqual(before);
  });

  it("with a higher epoch of its own sandbox than was given is refused and changes no row", async () => {
    await using world = await FleetWorld.open();
    const { honest, id } = await two(world);
    const before = await world.store.sandboxes.get(id);
    honest.machine.haunt(id, 5);
    await honest.live(20_000);
    expect(await refused(world)).toEqual([["honest", "epoch_too_high", id]]);
    expect(await world.store.sandboxes.get(id)).toEqual(before);
  });

  it("with ids of nobody is told of at a bounded rate, and they are destroyed", async () => {
    await using world = await FleetWorld.open();
    const { liar } = await two(world);
    for (let i = 0; i < 50; i += 1) liar.machine.haunt(`sbnobody${i}`, 1);
    await liar.live(20_000);
    expect(await refused(world)).toHaveLength(1);
    expect(liar.machine.boxes.size).toBe(0);
    await liar.live(60_000);
    liar.machine.haunt("sbagain", 1);
    await liar.live(10_000);
    expect(await world.events("worker.refused")).toMatchObject([{}, { data: { reason: "unknown_sandbox", more_before: 49 } }]);
  });

  it("is dealt with a few hundred at a time, however many it makes up", async () => {
    await using world = await FleetWorld.open();
    const { liar } = await two(world);
    for (let i = 0; i < 1_000; i += 1) liar.machine.haunt(`sbghost${i}`, 1);
    const destroyed = (): number => liar.machine.calls.filter((call) => call.startsWith("destroy")).length;
    const before = destroyed();
    await liar.live(10_000);
    expect(destroyed() - before).toBe(256);
    expect(world.lines.filter(({ message }) => message === "a box that nobody owns is destroyed")).toHaveLength(256);
    await liar.live(40_000);
    expect(liar.machine.boxes.size).toBe(0);
  });

  it("is none when it shows what was left of what went elsewhere", async () => {
    await using world = await FleetWorld.open();
    const { liar: w1, id, a } = await two(world);
    await world.until(a.orchestrator.destroy(id));
    w1.machine.haunt(id, 1);
    await w1.live(20_000);
    expect(w1.machine.boxes.size).toBe(0);
    expect(await refused(world)).toEqual([]);
  });
});

describe("what a worker says over its link", () => {
  it("is about its own sandboxes under their epoch, else forbidden; a lie is reported, lateness is not", async () => {
    await using world = await FleetWorld.open();
    const { a, honest, liar, id } = await two(world);
    const before = await world.store.sandboxes.get(id);
    const said = liar.links.get("a")?.session;
    const own = honest.links.get("a")?.session;
    if (said === undefined || own === undefined) throw new Error("no link");
    const say = [
      () => said.report({ sandbox_id: id, epoch: 1 }),
      () => said.processesChanged({ sandbox_id: id, epoch: 1, key_name: null }),
      () => said.portAccess({ sandbox_id: id, epoch: 1, port: 80 }),
      () => own.report({ sandbox_id: id, epoch: 0 }),
      () => own.report({ sandbox_id: id, epoch: 2 }),
      () => own.report({ sandbox_id: "sb1hfqv8k3m00a1b2c3d4e5", epoch: 1 }),
    ];
    for (const one of say) expect(await world.failure(one())).toMatchObject({ code: "forbidden" });
    expect(await world.store.sandboxes.get(id)).toEqual(before);
    expect(await refused(world)).toEqual([
      ["liar", "foreign_sandbox", id],
      ["honest", "epoch_too_high", id],
      ["honest", "unknown_sandbox", "sb1hfqv8k3m00a1b2c3d4e5"],
    ]);
    await own.report({ sandbox_id: id, epoch: 1 });
    expect(await own.portAccess({ sandbox_id: id, epoch: 1, port: 80 })).toEqual({ access: "private" });
    await world.until(a.orchestrator.publishPort(id, { port: 80, public: true }));
    expect(await own.portAccess({ sandbox_id: id, epoch: 1, port: 80 })).toEqual({ access: "public" });
  });

  it("that a box ended is asked about at once, and believed of the one who has it only", async () => {
    await using world = await FleetWorld.open();
    const { a, honest, id } = await two(world);
    honest.machine.boxes.delete(id);
    await honest.links.get("a")?.session.report({ sandbox_id: id, epoch: 1 });
    expect(await a.orchestrator.get(id)).toMatchObject({ state: "stopped" });
  });

  it("floods nobody: of many reports a few are followed, and of many heartbeats a few are written", async () => {
    await using world = await FleetWorld.open();
    const { honest, id } = await two(world);
    const session = honest.links.get("a")?.session;
    // A sandbox that is never the same, whenever it is looked at.
    const seen: string[] = [];
    const box = honest.machine.boxes.get(id);
    if (session === undefined || box === undefined) throw new Error("no link");
    for (let i = 0; i < 100; i += 1) {
      honest.machine.boxes.set(id, { ...box, state: i % 2 === 0 ? "unhealthy" : "running" });
      await world.until(session.report({ sandbox_id: id, epoch: 1 }));
      seen.push((await world.store.sandboxes.get(id))?.state ?? "");
    }
    expect(seen.filter((state, i) => state !== seen[i - 1]).length).toBeLessThan(12);
    // Drains and does not, with each heartbeat: each change is an event.
    const beats = await Promise.all(
      Array.from({ length: 400 }, (_, i) =>
        session.heartbeat(honest.heartbeat({ draining: i % 2 === 0 })).then(
          () => "taken",
          (error: unknown) => (error as { code: string }).code,
        ),
      ),
    );
    expect(beats.filter((one) => one === "taken").length).toBeLessThan(80);
    expect(beats.at(-1)).toBe("resource_limit");
    expect((await world.events("worker.draining", "worker.online")).length).toBeLessThan(80);
    // It is still there, and is heard again.
    await honest.live(10_000);
    expect(session.ended.aborted).toBe(false);
    expect(honest.links.get("a")?.session).toBe(session);
  });

  it("is looked at so many times a second, whatever it speaks of, and others are heard all the while", async () => {
    await using world = await FleetWorld.open();
    const { a, honest, liar, id } = await two(world);
    const looked = vi.spyOn(world.store.leases, "get");
    const session = await liar.link(a);
    const flood = (): Promise<string[]> =>
      Promise.all(
        Array.from({ length: 3_000 }, (_, at) =>
          session.report({ sandbox_id: `sbnobody${at}`, epoch: 1 }).then(
            () => "taken",
            (error: unknown) => toCaissonError(error).code,
          ),
        ),
      );
    const answers = await flood();
    expect(answers.at(-1)).toBe("resource_limit");
    expect(looked.mock.calls.length).toBeLessThan(1_100);
    await honest.links.get("a")?.session.report({ sandbox_id: id, epoch: 1 });
    looked.mockClear();
    await world.pass(1_000);
    await flood();
    expect(looked.mock.calls.length).toBeLessThan(300);
    expect(await session.heartbeat(liar.heartbeat())).toMatchObject({ drain: false });
  });

  it("counts nothing before it has said that it is there", async () => {
    await using world = await FleetWorld.open();
    const { a, honest, id } = await two(world);
    const session = a.orchestrator.sessions.open(honest.identity, { workerId: "honest" } as never);
    await expect(session.report({ sandbox_id: id, epoch: 1 })).rejects.toMatchObject({ code: "forbidden" });
    session.close();
    expect(honest.links.get("a")?.session.ended.aborted).toBe(false);
    expect(a.hosts.ids()).toEqual(["honest", "liar"]);
  });

  it("ends with a newer link, without a moment in which there is none", async () => {
    await using world = await FleetWorld.open();
    const { a, honest } = await two(world);
    const older = honest.links.get("a")?.session;
    const seen: boolean[] = [];
    a.hosts.onChange((workerId) => void seen.push(a.hosts.get(workerId) !== undefined));
    await honest.link(a);
    expect(older?.ended.reason).toMatchObject({ code: "conflict" });
    expect(seen).toEqual([true]);
    older?.close();
    expect(a.hosts.get("honest")).toBeDefined();
  });

  it("is refused once its credential is no longer good, or has ended", async () => {
    await using world = await FleetWorld.open();
    const good = { now: true };
    const a = await world.plane("a", {
      identities: { stillGood: async () => good.now, revoke: async () => undefined, publicKeys: async () => ({ keys: [] }) } as never,
    });
    const worker = await world.worker("w1", [a]);
    good.now = false;
    const session = worker.links.get("a")?.session;
    await expect(session?.heartbeat(worker.heartbeat())).rejects.toMatchObject({ code: "unauthorized" });
    expect(session?.ended.aborted).toBe(true);
    expect(a.hosts.ids()).toEqual([]);
    good.now = true;
    const short = await worker.link(a, { expiresAt: world.clock.now() + 5_000 });
    await world.pass(5_000);
    await expect(short.heartbeat(worker.heartbeat())).rejects.toMatchObject({ code: "unauthorized" });
    expect(a.hosts.ids()).toEqual([]);
  });

  it("ends with the newest token that it showed, whatever it showed after that, and with a revocation all the same", async () => {
    await using world = await FleetWorld.open();
    const good = { now: true };
    let next: Partial<WorkerIdentity> | CaissonError = {};
    const identities = {
      stillGood: async () => good.now,
      renew: async (identity: WorkerIdentity) => {
        if (next instanceof CaissonError) throw next;
        return { ...identity, ...next };
      },
    };
    const a = await world.plane("a", { identities });
    const worker = await world.worker("w1", [a]);
    const began = world.clock.now();
    const session = await worker.link(a, { issuedAt: began, expiresAt: began + 10_000, scopes: new Set(["worker:heartbeat"]) });
    const shown = { token: "t", proof: "p" };
    expect(await session.challenge()).toEqual({ nonce: "nonce" });
    next = { issuedAt: began + 5_000, expiresAt: began + 15_000, scopes: new Set(["worker:heartbeat", "worker:lease"]) };
    await session.renew(shown);
    expect([...session.scopes]).toEqual(["worker:heartbeat", "worker:lease"]);
    // One that came before it, and one that is refused, change nothing.
    next = { issuedAt: began + 4_000, expiresAt: began + 14_000, scopes: new Set() };
    await session.renew(shown);
    next = new CaissonError("unauthorized", "It is another worker's.");
    await expect(session.renew(shown)).rejects.toBe(next);
    await world.pass(14_000);
    await session.heartbeat(worker.heartbeat());
    await world.pass(1_000);
    await expect(session.heartbeat(worker.heartbeat())).rejects.toMatchObject({ code: "unauthorized" });
    expect(session.ended.reason).toMatchObject({ code: "unauthorized" });
    await expect(session.renew(shown)).rejects.toMatchObject({ code: "unauthorized" });

    // What has ended or was revoked is made good by nothing that comes later.
    for (const [revoked, lifeMs] of [[true, 60_000] as const, [false, 1_000] as const]) {
      const over = await worker.link(a, { issuedAt: world.clock.now(), expiresAt: world.clock.now() + lifeMs });
      await world.pass(1_000);
      good.now = !revoked;
      next = { issuedAt: world.clock.now(), expiresAt: world.clock.now() + 60_000 };
      await expect(over.renew(shown)).rejects.toMatchObject({ code: "unauthorized" });
      expect(over.ended.aborted).toBe(true);
      good.now = true;
    }
  });

  it("looks at so many renewals of a link that floods, and no more", async () => {
    await using world = await FleetWorld.open();
    let looked = 0;
    const identities = {
      renew: async (identity: WorkerIdentity) => {
        looked += 1;
        return identity;
      },
    };
    const a = await world.plane("a", { identities });
    const worker = await world.worker("w1", [a]);
    const session = await worker.link(a);
    const asked = await Promise.allSettled(Array.from({ length: 100 }, () => session.renew({ token: "t", proof: "p" })));
    expect(asked.at(-1)).toMatchObject({ status: "rejected", reason: { code: "resource_limit" } });
    expect(looked).toBe(8);
    await world.pass(1_000);
    await session.renew({ token: "t", proof: "p" });
  });
});
