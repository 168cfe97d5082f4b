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
