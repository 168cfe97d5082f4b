import { describe, expect, it, vi } from "vitest";
import { FleetWorld } from "../testing/fleet-world.ts";

describe("a worker that has no link here", () => {
  it("is known within a second, by its sandboxes, and no more once there is a link", async () => {
    await using world = await FleetWorld.open();
    const [a, b] = [await world.plane("a"), await world.plane("b")];
    await world.pass(5_000);
    const worker = await world.worker("w1", [b]);
    const { id } = await world.until(b.orchestrator.create({}));
    await world.pass(1_000);
    const { farWorkers } = a.orchestrator;
    expect(farWorkers.siblings.map((one) => one.id)).toEqual(["b"]);
    expect(await farWorkers.far(id)).toBe("w1");
    expect(await farWorkers.unlinked(id)).toBe("w1");
    expect(await b.orchestrator.farWorkers.far(id)).toBeUndefined();
    const link = await worker.link(a);
    expect([await farWorkers.far(id), await farWorkers.unlinked(id)]).toEqual([undefined, undefined]);
    // One that breaks is missed at once.
    link.close();
    expect(await farWorkers.far(id)).toBe("w1");
  });

  it("costs one look at a sandbox, and nothing while every worker has a link", async () => {
    await using world = await FleetWorld.open();
    const [a, b] = [await world.plane("a"), await world.plane("b")];
    await world.pass(5_000);
    const near = await world.worker("near", [a, b]);
    const { id } = await world.until(a.orchestrator.create({}));
    await world.pass(1_000);
    const looks = vi.spyOn(world.store.sandboxes, "get");
    const { farWorkers } = a.orchestrator;
    expect(await farWorkers.far(id)).toBeUndefined();
    expect(looks).not.toHaveBeenCalled();
    await world.worker("elsewhere", [b]);
    await world.pass(1_000);
    looks.mockClear();
    for (let i = 0; i < 3; i += 1) expect(await farWorkers.far(id)).toBeUndefined();
    expect(looks).toHaveBeenCalledTimes(1);
    looks.mockRestore();
    near.cutOff();
    expect(await farWorkers.far(id)).toBe("near");
  });

  it("is nobody's to ask for where there is no other control plane, or the worker is gone", async () => {
    await using world = await FleetWorld.open();
    const b = await world.plane("b");
    const worker = await world.worker("w1", [b]);
    const { id } = await world.until(b.orchestrator.create({}));
    await world.pass(1_000);
    worker.cutOff();
    expect(await b.orchestrator.farWorkers.far(id)).toBeUndefined();
    const a = await world.plane("a");
    await world.pass(5_000);
    expect(await a.orchestrator.farWorkers.far(id)).toBe("w1");
    await world.pass(120_000);
    expect((await world.store.workers.get("w1"))?.state).toBe("unreachable");
    expect(await a.orchestrator.farWorkers.far(id)).toBeUndefined();
  });
});
