import { CaissonError } from "@caisson/contract";
import { describe, expect, it } from "vitest";
import { FleetWorld } from "./testing/fleet-world.ts";

it("gives creations that come at the same moment to different workers", async () => {
  await using world = await FleetWorld.open();
  const a = await world.plane("a");
  for (const id of ["w1", "w2", "w3", "w4"]) await world.worker(id, [a]);
  const made = await world.until(Promise.all(Array.from({ length: 8 }, () => a.orchestrator.create({}))));
  const on = made.map(({ worker_id: id }) => id).toSorted();
  expect(on).toEqual(["w1", "w1", "w2", "w2", "w3", "w3", "w4", "w4"]);
});

describe("a creation that fails on one worker", () => {
  it("goes to the next, once each, under a higher epoch, after the first has nothing of it", async () => {
    await using world = await FleetWorld.open();
    const a = await world.plane("a");
    const workers = await Promise.all(["w1", "w2", "w3"].map((id) => world.worker(id, [a])));
    const fail = (name: string) => () => Promise.reject(new CaissonError("provider_failed", `${name} cannot`));
    for (const worker of workers.slice(0, 2)) worker.machine.onStart = fail(worker.id);
    const made = await world.until(Promise.all([1, 2, 3].map(() => a.orchestrator.create({ memory_mb: 64 }))));
    for (const { worker_id: on } of made) expect(on).toBe("w3");
    const moved = made.find(({ placement }) => (placement?.refused.length ?? 0) === 2);
    expect(moved?.placement).toMatchObject({ worker_id: "w3", strategy: "only" });
    const { id } = moved ?? { id: "" };
    expect(moved?.placement?.refused.map(({ code }) => code)).toEqual(["provider_failed", "provider_failed"]);
    const called = workers.map(({ machine }) => machine.calls.filter((call) => call.includes(id)).join(", "));
    expect(new Set(called)).toEqual(new Set([`start ${id} 1, destroy ${id} 2`, `start ${id} 4, destroy ${id} 5`, `start ${id} 7`]));
    expect((await world.events("sandbox.placed")).filter(({ sandbox_id: of }) => of === id)).toHaveLength(2);
    const reserved = await Promise.all(workers.map(async (worker) => (await worker.shown(a)).reserved));
    expect(reserved.map(({ sandboxes, memory_mb }) => [sandboxes, memory_mb])).toEqual([
      [0, 0],
      [0, 0],
      [3, 192],
    ]);
    expect(await world.store.leases.get(id)).toEqual({ workerId: "w3", epoch: 7 });
  });

  it("stays where it is while that worker did not confirm", async () => {
    await using world = await FleetWorld.open();
    const a = await world.plane("a");
    const [w1, w2] = await Promise.all([world.worker("w1", [a]), world.worker("w2", [a])]);
    await world.until(a.orchestrator.create({ worker_id: "w2" }));
    w1.machine.onStart = () => Promise.reject(new CaissonError("provider_failed", "no"));
    w1.machine.onDestroy = () => Promise.reject(new CaissonError("worker_unavailable", "the answer is lost"));
    const made = a.orchestrator.create({});
    await world.pass(20_000);
    expect(w1.machine.calls.filter((call) => call.startsWith("destroy")).length).toBeGreaterThan(2);
    // One of these may come late, and would end what was started there meanwhile.
    expect(w1.machine.calls.filter((call) => call.startsWith("start"))).toHaveLength(1);
    expect(w2.machine.calls).toHaveLength(1);
    w1.machine.onDestroy = undefined;
    expect(await world.until(made)).toMatchObject({
      worker_id: "w2",
      state: "running",
      placement: { refused: [{ worker_id: "w1", code: "provider_failed" }] },
    });
  });

  it("is not let go by a worker that says of itself that it was never asked", async () => {
    await using world = await FleetWorld.open();
    const a = await world.plane("a");
    const [w1, w2] = await Promise.all([world.worker("w1", [a]), world.worker("w2", [a])]);
    await world.until(a.orchestrator.create({ worker_id: "w2" }));
    // What comes over a link is a code, a message and a detail: no detail may say what only our end of it knows.
    w1.machine.onStart = () =>
      Promise.reject(new CaissonError("worker_unavailable", "The link ended.", { detail: { sent: false, unsent: true } }));
    const made = a.orchestrator.create({});
    await world.pass(5_000);
    expect(w1.machine.calls.filter((call) => call.startsWith("start")).length).toBeGreaterThan(1);
    expect(w2.machine.calls).toHaveLength(1);
    w1.machine.onStart = undefined;
    expect(await world.until(made)).toMatchObject({ worker_id: "w1", state: "running" });
  });

  it("is not ended by a destroy of its first driver that comes when another one has started it", async () => {
    await using world = await FleetWorld.open();
    const [a, b] = [await world.plane("a"), await world.plane("b")];
    const [w1, w2] = await Promise.all([world.worker("w1", [a, b]), world.worker("w2", [a, b])]);
    await world.until(a.orchestrator.create({ worker_id: "w2" }));
    w1.machine.onStart = () => Promise.reject(new CaissonError("provider_failed", "no"));
    const late = Promise.withResolvers<void>();
    const sent = Promise.withResolvers<void>();
    w1.machine.onDestroy = () => {
      sent.resolve();
      return late.promise;
    };
    a.orchestrator.create({}, { idempotencyKey: "k" }).catch(() => undefined);
    await world.until(sent.promise);
    a.kill();
    w1.machine.onStart = undefined;
    const { id, worker_id: on, state } = await world.until(b.orchestrator.create({}, { idempotencyKey: "k" }));
    expect([on, state]).toEqual(["w1", "running"]);
    late.resolve();
    await Promise.all([w1.live(20_000), w2.live(20_000)]);
    expect(w1.machine.calls.filter((call) => call.includes(id))).toEqual([`start ${id} 1`, `destroy ${id} 2`, `start ${id} 3`]);
    expect(w1.machine.boxes.get(id)).toMatchObject({ epoch: 3, state: "running" });
    expect(await b.orchestrator.get(id)).toMatchObject({ state: "running" });
    expect(await world.store.leases.get(id)).toEqual({ workerId: "w1", epoch: 3 });
  });

  it("replaces what its first driver's start left after all, and is one box", async () => {
    await using world = await FleetWorld.open();
    const [a, b] = [await world.plane("a"), await world.plane("b")];
    const [w1, w2] = await Promise.all([world.worker("w1", [a, b]), world.worker("w2", [a, b])]);
    await world.until(a.orchestrator.create({ worker_id: "w2" }));
    w1.machine.onStart = ({ sandboxId, epoch }) => {
      w1.machine.haunt(sandboxId, epoch);
      return Promise.reject(new CaissonError("provider_failed", "it seemed so"));
    };
    const sent = Promise.withResolvers<void>();
    w1.machine.onDestroy = () => {
      sent.resolve();
      return new Promise(() => undefined); // it never comes
    };
    a.orchestrator.create({}, { idempotencyKey: "k" }).catch(() => undefined);
    await world.until(sent.promise);
    a.kill();
    w1.machine.onStart = w1.machine.onDestroy = undefined;
    const { id } = await world.until(b.orchestrator.create({}, { idempotencyKey: "k" }));
    await Promise.all([w1.live(20_000), w2.live(20_000)]);
    expect(w1.machine.boxes.get(id)).toMatchObject({ epoch: 3, state: "running" });
    expect(w2.machine.boxes.has(id)).toBe(false);
    expect((await world.events()).filter(({ sandbox_id: of }) => of === id).map(({ type }) => type)).toEqual([
      "sandbox.created",
      "sandbox.running",
    ]);
  });

  it("leaves nothing on the worker it left, though that one has seen a higher epoch than its box", async () => {
    await using world = await FleetWorld.open();
    const a = await world.plane("a");
    const [w1, w2] = await Promise.all([world.worker("w1", [a]), world.worker("w2", [a])]);
    await world.until(a.orchestrator.create({ worker_id: "w2" }));
    w1.machine.onStart = () => Promise.reject(new CaissonError("provider_failed", "no"));
    const { id, worker_id: on } = await world.until(a.orchestrator.create({}));
    expect(on).toBe("w2");
    w1.machine.haunt(id, 1);
    await Promise.all([w1.live(20_000), w2.live(20_000)]);
    expect([...w1.machine.boxes.keys()]).toEqual([]);
    expect(w2.machine.boxes.get(id)).toMatchObject({ epoch: 4, state: "running" });
  });

  it("goes elsewhere at once when there was no way to ask the first", async () => {
    await using world = await FleetWorld.open();
    const a = await world.plane("a");
    const [w1] = await Promise.all([world.worker("w1", [a]), world.worker("w2", [a])]);
    await world.until(a.orchestrator.create({ worker_id: "w2" }));
    // Chosen, and gone before it is asked.
    const off = world.store.events.onAppend(() => {
      off();
      w1.cutOff();
    });
    const made = a.orchestrator.create({});
    expect(await world.until(made)).toMatchObject({
      worker_id: "w2",
      placement: { refused: [{ worker_id: "w1", code: "worker_unavailable" }] },
    });
    expect(await world.events("sandbox.placed")).toHaveLength(1);
    expect(w1.machine.calls).toEqual([]);
  });

  it("ends with what the first one said when nobody else can", async () => {
    await using world = await FleetWorld.open();
    const a = await world.plane("a");
    const workers = await Promise.all(["w1", "w2"].map((id) => world.worker(id, [a])));
    for (const { machine, id } of workers) machine.onStart = () => Promise.reject(new CaissonError("provider_failed", `${id} cannot`));
    const error = await world.failure(a.orchestrator.create({}));
    expect(error).toMatchObject({ code: "provider_failed", message: expect.stringMatching(/^w[12] cannot$/) });
    const first = (await world.events("sandbox.created"))[0]?.data["worker_id"] as string;
    expect((error as CaissonError).message).toBe(`${first} cannot`);
    await world.pass(1_000);
    for (const worker of workers) expect((await worker.shown(a)).reserved.sandboxes).toBe(0);
  });

  it("ends with what the first one said, also when another control plane drove it then", async () => {
    await using world = await FleetWorld.open();
    const [a, b] = [await world.plane("a"), await world.plane("b")];
    const workers = await Promise.all(["w1", "w2"].map((id) => world.worker(id, [a, b])));
    const moved = Promise.withResolvers<void>();
    for (const { machine } of workers) {
      machine.onStart = () => {
        for (const other of workers) {
          if (other.machine === machine) continue;
          other.machine.onStart = () => {
            moved.resolve();
            return new Promise(() => undefined);
          };
        }
        return Promise.reject(new CaissonError("provider_failed", "the first cannot"));
      };
    }
    a.orchestrator.create({}, { idempotencyKey: "k" }).catch(() => undefined);
    await world.until(moved.promise);
    a.kill();
    for (const { machine } of workers) machine.onStart = () => Promise.reject(new CaissonError("lease_lost", "not heard yet"));
    expect(await world.failure(b.orchestrator.create({}, { idempotencyKey: "k" }))).toMatchObject({
      code: "provider_failed",
      message: "the first cannot",
    });
  });

  it("is not tried elsewhere when the request is at fault", async () => {
    await using world = await FleetWorld.open();
    const a = await world.plane("a");
    const workers = await Promise.all(["w1", "w2"].map((id) => world.worker(id, [a])));
    for (const { machine } of workers) machine.onStart = () => Promise.reject(new CaissonError("no_such_user", "nobody"));
    expect(await world.failure(a.orchestrator.create({ user: "nobody" }))).toMatchObject({ code: "no_such_user" });
    expect(workers.flatMap(({ machine }) => machine.calls.filter((call) => call.startsWith("start")))).toHaveLength(1);
  });
});
