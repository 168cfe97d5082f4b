import { CaissonError } from "@caisson/contract";
import { expect, it } from "vitest";
import { FleetWorld } from "./testing/fleet-world.ts";

const never = new Promise<never>(() => undefined);
const broken = Promise.reject(new CaissonError("provider_failed", "It cannot be read."));
broken.catch(() => undefined);

it.each([
  ["does not answer", never],
  ["fails", broken],
])("is held up by no question about one sandbox that %s", async (_how, answer) => {
  await using world = await FleetWorld.open();
  const a = await world.plane("a");
  const worker = await world.worker("w1", [a]);
  const { machine } = worker;
  const [odd, gone, ended] = await world.until(
    Promise.all([a.orchestrator.create({}), a.orchestrator.create({}), a.orchestrator.create({})]),
  );
  machine.onDestroy = () => Promise.reject(new CaissonError("provider_failed", "It is busy."));
  await world.until(a.orchestrator.destroy(ended.id));
  machine.onDestroy = undefined;
  machine.onInspect = async (id) => {
    if (id === odd.id) await answer;
  };
  machine.boxes.delete(odd.id);
  machine.boxes.delete(gone.id);
  await worker.live(20_000);
  expect(await a.orchestrator.get(gone.id)).toMatchObject({ state: "stopped" });
  expect(await world.store.leases.get(ended.id)).toBeUndefined();
  expect(machine.boxes.has(ended.id)).toBe(false);
  // Nothing is concluded of the one that is not told of.
  expect(await a.orchestrator.get(odd.id)).toMatchObject({ state: "running" });
  machine.onInspect = undefined;
  await worker.live(20_000);
  expect(await a.orchestrator.get(odd.id)).toMatchObject({ state: "stopped" });
});

it("takes no sandbox for gone that an inventory tells of in words it cannot read, and follows the others", async () => {
  await using world = await FleetWorld.open();
  const a = await world.plane("a");
  const worker = await world.worker("w1", [a]);
  const { machine } = worker;
  const [unclear, gone, frozen] = await world.until(
    Promise.all([a.orchestrator.create({}), a.orchestrator.create({}), a.orchestrator.create({})]),
  );
  const state = async (id: string): Promise<string> => (await a.orchestrator.get(id)).state;
  const refused = async (): Promise<unknown[]> => (await world.events("worker.refused")).map(({ data }) => data);
  // A worker that lost its way so far that it does not know the sandbox when it is asked for by name.
  for (const { id } of [unclear, gone]) machine.boxes.delete(id);
  const box = machine.boxes.get(frozen.id);
  if (box !== undefined) machine.boxes.set(frozen.id, { ...box, state: "paused" });
  machine.unread = [{ state: "unread", sandboxId: null, problem: "no map" }];
  await worker.live(20_000);
  // It may be any of those that are missing.
  expect([await state(unclear.id), await state(gone.id), await state(frozen.id)]).toEqual(["running", "running", "paused"]);
  expect(await refused()).toEqual([{ reason: "unreadable_sandbox", sandbox_id: null, problem: "no map", sandboxes: 1 }]);

  machine.unread = [{ state: "unread", sandboxId: unclear.id, problem: "epoch: is none" }];
  await worker.live(80_000);
  expect([await state(unclear.id), await state(gone.id)]).toEqual(["running", "stopped"]);
  const told = await refused();
  // It comes within a minute of the first one, and is told all the same.
  expect(told).toMatchObject([{ sandbox_id: null }, { sandbox_id: unclear.id, problem: "epoch: is none" }]);
  // However often it is told again.
  await worker.live(120_000);
  expect(await refused()).toEqual(told);

  machine.unread = [];
  await worker.live(20_000);
  expect(await state(unclear.id)).toBe("stopped");
});
