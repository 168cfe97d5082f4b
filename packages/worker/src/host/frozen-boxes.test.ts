import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { newId, systemClock, systemRandom, type StartSandbox } from "@caisson/contract";
import { GuestClient } from "@caisson/guest";
import { MockMachine, MockProvider } from "@caisson/providers";
import { afterEach, beforeEach, expect, it } from "vitest";
import { boxesFolder, livingBoxes, ProcessProvider } from "../fixtures/process-provider.ts";
import { ImageStore } from "../images/image-store.ts";
import { LocalHost, type LocalHostOptions } from "./local-host.ts";

let dir = "";
let boxes = "";
let provider: ProcessProvider;
let host: LocalHost;
let machine: MockMachine;
const log = (): void => undefined;

async function open(deadlines: LocalHostOptions["deadlines"] = {}): Promise<void> {
  provider = new ProcessProvider(boxes);
  const images = new ImageStore({ dir: join(dir, "images"), machine: join(dir, "machine"), clock: systemClock, log });
  const providers = [provider, new MockProvider(machine, { clock: systemClock, log })];
  const base = { workerId: "w1", dataDir: dir, providers, images, clock: systemClock, random: systemRandom, log };
  host = new LocalHost({ ...base, healthEveryMs: 0, sweepEveryMs: 0, deadlines });
  await host.open();
}

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "caisson-frozen-"));
  boxes = await boxesFolder(dir);
  machine = new MockMachine(systemClock);
  await open();
});
afterEach(async () => {
  await host.close();
  for (const pid of livingBoxes(boxes)) process.kill(pid, "SIGKILL");
  await rm(dir, { recursive: true, force: true });
});

function spec(name = "process"): StartSandbox {
  const sandboxId = newId("sandbox", Date.now(), systemRandom);
  return { sandboxId, epoch: 1, provider: name, image: "host", resources: {}, env: {}, network: "none" };
}
const answers = (ref: StartSandbox, deadlineMs = 20_000): Promise<boolean> =>
  new GuestClient(host.guest(ref)).stats({ deadlineMs }).then(
    () => true,
    () => false,
  );
const stateOf = async (ref: StartSandbox): Promise<string | undefined> => (await host.inspect(ref.sandboxId))?.state;

it("freezes what runs, starts nothing meanwhile, and thaws exactly those", async () => {
  const [one, two, before] = [spec(), spec(), spec()];
  for (const ref of [one, two, before]) await host.start(ref);
  const frozenByUser = (await provider.list()).find((box) => box.sandboxId === before.sandboxId);
  await provider.freeze(frozenByUser!.handle);
  expect(await stateOf(before)).toBe("paused");

  const paused = await host.pauseAll();
  expect(paused.done.map((ref) => ref.sandboxId).sort()).toEqual([one.sandboxId, two.sandboxId].sort());
  expect(paused.refused).toEqual([]);
  expect(await Promise.all([one, two, before].map(stateOf))).toEqual(["paused", "paused", "paused"]);
  expect(await answers(one, 200)).toBe(false);
  await expect(host.start(spec())).rejects.toMatchObject({ code: "no_capacity" });
  expect((await host.pauseAll()).done).toHaveLength(2);

  expect((await host.resumeAll()).done).toHaveLength(2);
  expect(await Promise.all([one, two, before].map(stateOf))).toEqual(["running", "running", "paused"]);
  expect(await answers(one)).toBe(true);
  await host.start(spec());
  expect(await host.resumeAll()).toEqual({ done: [], refused: [] });
});

it("names what cannot freeze, and lets it run", async () => {
  const [real, mock] = [spec(), spec("mock")];
  for (const ref of [real, mock]) await host.start(ref);
  const { done, refused } = await host.pauseAll();
  expect(done).toEqual([{ sandboxId: real.sandboxId, epoch: 1 }]);
  expect(refused).toEqual([{ sandboxId: mock.sandboxId, epoch: 1, code: "unsupported", reason: "The provider mock cannot freeze." }]);
  expect(await stateOf(mock)).toBe("running");
  await host.resumeAll();
});

it("keeps frozen what was frozen across a restart, and thaws it then", async () => {
  const one = spec();
  await host.start(one);
  await host.pauseAll();
  await host.close();
  await open();
  expect(await stateOf(one)).toBe("paused");
  await expect(host.start(spec())).rejects.toMatchObject({ code: "no_capacity" });
  await host.resumeAll();
  expect([await stateOf(one), await answers(one)]).toEqual(["running", true]);
});

it("thaws what a crash in the middle left frozen", async () => {
  await host.close();
  await open({ ask: 3_000 });
  const [one, two] = [spec(), spec()];
  for (const ref of [one, two]) await host.start(ref);
  // As if the process had died when the first was frozen and the second not yet.
  const reached = Promise.withResolvers<void>();
  provider.faults.afterFreeze = () => {
    reached.resolve();
    return new Promise(() => undefined);
  };
  void host.pauseAll();
  await reached.promise;
  const list = await readFile(join(dir, "worker", "frozen.json"), "utf8");
  await host.close();
  await writeFile(join(dir, "worker", "frozen.json"), list);
  await open();
  await host.resumeAll();
  expect([await answers(one), await answers(two)]).toEqual([true, true]);
});

it("thaws everything when the list is damaged", async () => {
  const one = spec();
  await host.start(one);
  await host.pauseAll();
  await host.close();
  await writeFile(join(dir, "worker", "frozen.json"), "{");
  await open();
  await host.resumeAll();
  expect(await answers(one)).toBe(true);
});

it("tries again to thaw what could not be thawed, also after a restart", async () => {
  const one = spec();
  await host.start(one);
  await host.pauseAll();
  const thaw = provider.thaw.bind(provider);
  provider.thaw = () => Promise.reject(new Error("no such group"));
  expect((await host.resumeAll()).refused).toMatchObject([{ sandboxId: one.sandboxId }]);
  // Control is back all the same: new ones are taken.
  await host.destroy(await host.start(spec()));
  provider.thaw = thaw;
  await host.close();
  await open();
  expect((await host.resumeAll()).done).toHaveLength(1);
  expect(await answers(one)).toBe(true);
});

it("ends a frozen sandbox as any other, and forgets it", async () => {
  const one = spec();
  await host.start(one);
  await host.pauseAll();
  await host.destroy(one);
  expect(livingBoxes(boxes)).toEqual([]);
  expect((await host.resumeAll()).refused).toEqual([]);
});

it("takes nothing new while it drains, and tells a running one again", async () => {
  const one = spec();
  const box = await host.start(one);
  await host.drain(true);
  await expect(host.start(spec())).rejects.toMatchObject({ code: "no_capacity" });
  expect(await host.start(one)).toEqual(box);
  await host.drain(false);
  await host.start(spec());
  expect(host.count).toBe(2);
});
