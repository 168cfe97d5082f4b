import { execFileSync } from "node:child_process";
import { closeSync, constants, openSync, readdirSync, readlinkSync, readSync, writeSync } from "node:fs";
import { link, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { newId, systemClock, systemRandom, type Clock, type SandboxRef, type StartSandbox } from "@caisson/contract";
import { GuestClient } from "@caisson/guest";
import { MockMachine, MockProvider, type Provider } from "@caisson/providers";
import { VirtualClock } from "@caisson/testkit";
import { afterEach, beforeEach, expect, test } from "vitest";
import { boxesFolder, endProcess, livingBoxes, ProcessProvider } from "../fixtures/process-provider.ts";
import { ImageStore } from "../images/image-store.ts";
import { LocalHost, type LocalHostOptions } from "./local-host.ts";

let dir = "";
let boxes = "";
let provider: ProcessProvider;
let host: LocalHost;
let logged: { level: string; message: string }[] = [];

function makeHost(
  options: Partial<LocalHostOptions> = {},
  clock: Clock = systemClock,
  providers: readonly Provider[] = [provider],
): LocalHost {
  const log: LocalHostOptions["log"] = (level, message) => void logged.push({ level, message });
  const images = new ImageStore({ dir: join(dir, "images"), machine: join(dir, "machine"), clock, log });
  const base = { workerId: "local", dataDir: dir, providers, images, clock, random: systemRandom, log };
  return new LocalHost({ ...base, healthEveryMs: 0, sweepEveryMs: 0, ...options });
}

/** Ends this host, and opens another on the same folder. */
async function reopen(options: Partial<LocalHostOptions> = {}): Promise<void> {
  await host.close();
  provider = new ProcessProvider(boxes);
  host = makeHost(options);
  await host.open();
}

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "caisson-host-"));
  boxes = await boxesFolder(dir);
  provider = new ProcessProvider(boxes);
  host = makeHost();
  logged = [];
  await host.open();
});
afterEach(async () => {
  await host.close();
  for (const pid of livingBoxes(boxes)) process.kill(pid, "SIGKILL");
  await rm(dir, { recursive: true, force: true });
});

const freshId = (): string => newId("sandbox", Date.now(), systemRandom);
function spec(sandboxId: string, epoch = 1): StartSandbox {
  return { sandboxId, epoch, provider: "process", image: "host", resources: {}, env: { A: "1" }, network: "none" };
}
const code = (wanted: string): { code: string } => expect.objectContaining({ code: wanted }) as { code: string };
const states = async (): Promise<Record<string, string>> =>
  Object.fromEntries((await host.inventory()).map((box) => [box.sandboxId, box.state]));

/** Where a link leads; undefined when it is gone. */
function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined; // a descriptor that was closed meanwhile
  }
}

/** Resolves when a fault hook is reached, and lets it go on when told. */
function gate(): { reached: Promise<void>; open: () => void; hook: () => Promise<void> } {
  const reached = Promise.withResolvers<void>();
  const opened = Promise.withResolvers<void>();
  return {
    reached: reached.promise,
    open: opened.resolve,
    hook: () => {
      reached.resolve();
      return opened.promise;
    },
  };
}

test("starts a box, reaches its agent, and leaves nothing after destroy", async () => {
  const id = freshId();
  const box = await host.start(spec(id));
  expect(box).toEqual({ sandboxId: id, epoch: 1, state: "running", provider: "process", runtime: null, image: "host", imageDigest: null });
  expect(provider.booted[0]?.rootfs.kind).toBe("host");
  expect(await new GuestClient(host.guest(box)).stats()).toMatchObject({ sessions: 0 });
  expect(await host.inspect(id)).toEqual(box);
  expect(await host.inventory()).toEqual([box]);
  expect(await host.logs(box, { lines: 1 })).toMatchObject({ lines: ["second"] });
  expect((await host.images.list())[0]).toMatchObject({ name: "host", sandboxes: 1 });
  expect(await readFile(join(dir, "worker/records", `${id}.json`), "utf8")).not.toContain('"env"');

  await host.destroy(box);
  await host.destroy(box);
  expect(livingBoxes(boxes)).toEqual([]);
  expect(await readdir(boxes)).toEqual([]);
  expect(await host.inspect(id)).toBeUndefined();
  expect((await host.images.list())[0]).toMatchObject({ sandboxes: 0 });
  await expect(host.guest(box).open("Stats", {}).reply).rejects.toEqual(code("sandbox_not_found"));
});

test("the same start is one box, at once and later", async () => {
  const id = freshId();
  const [first, second] = await Promise.all([host.start(spec(id)), host.start(spec(id))]);
  expect(second).toEqual(first);
  expect(await host.start(spec(id))).toEqual(first);
  expect(provider.booted).toHaveLength(1);
});

test("a higher epoch replaces, a lower one is refused, also after a restart", async () => {
  const id = freshId();
  await host.start(spec(id, 2));
  const pid = await provider.pid(id);
  await expect(host.start(spec(id, 1))).rejects.toEqual(code("lease_lost"));
  await expect(host.destroy({ sandboxId: id, epoch: 1 })).rejects.toEqual(code("lease_lost"));
  await expect(host.guest({ sandboxId: id, epoch: 1 }).open("Stats", {}).reply).rejects.toEqual(code("lease_lost"));
  await host.start(spec(id, 3));
  expect(livingBoxes(boxes)).not.toContain(pid);
  expect(livingBoxes(boxes)).toHaveLength(1);
  await host.destroy({ sandboxId: id, epoch: 4 });
  for (const restarted of [false, true]) {
    if (restarted) await reopen();
    await expect(host.start(spec(id, 3))).rejects.toEqual(code("lease_lost"));
    await expect(host.start(spec(id, 4))).rejects.toEqual(code("sandbox_destroyed"));
  }
  expect(livingBoxes(boxes)).toEqual([]);
});

test("destroy wins over a start under way, and one that comes late", async () => {
  const id = freshId();
  const boot = gate();
  provider.faults.beforeBoot = boot.hook;
  const starting = host.start(spec(id));
  await boot.reached;
  const destroyed = host.destroy({ sandboxId: id, epoch: 1 });
  boot.open();
  await expect(starting).rejects.toEqual(code("sandbox_destroyed"));
  await destroyed;
  await expect(host.start(spec(id))).rejects.toEqual(code("sandbox_destroyed"));
  expect(livingBoxes(boxes)).toEqual([]);

  const unknown = freshId();
  await host.destroy({ sandboxId: unknown, epoch: 7 });
  await expect(host.start(spec(unknown, 7))).rejects.toEqual(code("sandbox_destroyed"));
});

test("a caller who goes away calls its start off; one of two does not", async () => {
  const id = freshId();
  const boot = gate();
  provider.faults.beforeBoot = boot.hook;
  const [first, second] = [new AbortController(), new AbortController()];
  const starting = [host.start(spec(id), first.signal), host.start(spec(id), second.signal)];
  await boot.reached;
  first.abort();
  await expect(starting[0]).rejects.toEqual(code("cancelled"));
  boot.open();
  await expect(starting[1]).resolves.toMatchObject({ state: "running" });

  const alone = freshId();
  const again = gate();
  provider.faults.beforeBoot = again.hook;
  const only = host.start(spec(alone), second.signal);
  await again.reached;
  second.abort();
  await expect(only).rejects.toEqual(code("cancelled"));
  again.open();
  await host.destroy({ sandboxId: alone, epoch: 1 });
  expect(livingBoxes(boxes)).toHaveLength(1);
});

test("a start that is called off before it begins leaves no claim", async () => {
  const id = freshId();
  await expect(host.start(spec(id, 9), AbortSignal.abort())).rejects.toEqual(code("cancelled"));
  expect(await host.start(spec(id, 1))).toMatchObject({ epoch: 1, state: "running" });
});

test("a start that fails leaves nothing, and the same epoch may be tried again", async () => {
  const id = freshId();
  provider.faults.afterBoot = async () => {
    throw new Error("boot went wrong");
  };
  await expect(host.start(spec(id))).rejects.toThrow("boot went wrong");
  // The provider broke its own promise and left the box: the next look at the machine removes it.
  expect(livingBoxes(boxes)).toHaveLength(1);
  expect(await host.inventory()).toEqual([]);
  expect(livingBoxes(boxes)).toEqual([]);
  delete provider.faults.afterBoot;
  expect(await host.start(spec(id))).toMatchObject({ state: "running" });
  await expect(host.start({ ...spec(freshId()), image: "NO such image" })).rejects.toEqual(code("image_not_found"));
  await expect(host.start({ ...spec(freshId()), provider: "nope" })).rejects.toEqual(code("provider_not_found"));
  expect((await host.images.list())[0]).toMatchObject({ sandboxes: 1 });
});

test("a provider whose boxes have files of their own takes any image by name, and none is fetched", async () => {
  const mock = new MockProvider(new MockMachine(systemClock), { clock: systemClock, log: () => undefined });
  await host.close();
  host = makeHost({}, systemClock, [mock, provider]);
  const asked = { ...spec(freshId()), provider: "mock", image: "alpine:latest" };
  expect(await host.start(asked)).toMatchObject({ state: "running", image: "alpine:latest", imageDigest: null });
  expect(await host.inventory()).toMatchObject([{ sandboxId: asked.sandboxId, image: "alpine:latest" }]);
  expect((await host.images.list()).map((image) => image.name)).toEqual(["host"]);
  await host.destroy({ sandboxId: asked.sandboxId, epoch: 1 });
  expect((await host.images.list())[0]).toMatchObject({ sandboxes: 0 });
});

test("an agent that never answers fails the start by name and leaves nothing", async () => {
  await host.close();
  host = makeHost({ deadlines: { hello: 300 } });
  provider.faults.silent = true;
  await expect(host.start(spec(freshId()))).rejects.toEqual(code("agent_unreachable"));
  expect(livingBoxes(boxes)).toEqual([]);
  expect(await host.inventory()).toEqual([]);
});

test("a provider that is deaf to the deadline is not believed: its late box is removed", async () => {
  await host.close();
  host = makeHost({ deadlines: { start: 50 } });
  provider.faults.deaf = true;
  provider.faults.beforeBoot = (_spec, signal) => new Promise((resolve) => signal?.addEventListener("abort", () => resolve()));
  await expect(host.start(spec(freshId()))).rejects.toEqual(code("deadline_exceeded"));
  expect(provider.booted).toHaveLength(1);
  expect(livingBoxes(boxes)).toEqual([]);
});

test("a restart finds every box again, and says which are gone", async () => {
  const [alive, dead] = [freshId(), freshId()];
  const box = await host.start(spec(alive));
  await host.start(spec(dead));
  await host.close();
  await endProcess(await provider.pid(dead));
  provider = new ProcessProvider(boxes);
  host = makeHost();
  expect(await states()).toEqual({ [alive]: "running", [dead]: "stopped" });
  expect((await host.inspect(dead))?.reason).toBe("it was killed");
  expect(await new GuestClient(host.guest(box)).stats()).toMatchObject({ sessions: 0 });
  expect((await host.images.list())[0]).toMatchObject({ sandboxes: 2 });
  expect(await host.start(spec(alive))).toMatchObject({ state: "running" });
  await expect(host.start(spec(dead))).rejects.toEqual(code("sandbox_destroyed"));
  expect(provider.booted).toEqual([]);
  await host.destroy({ sandboxId: dead, epoch: 1 });
  expect(await states()).toEqual({ [alive]: "running" });
});

test("adopts a box without a record, and one whose record was damaged", async () => {
  const [lost, damaged] = [freshId(), freshId()];
  await host.start(spec(lost));
  await host.start(spec(damaged));
  await host.close();
  await rm(join(dir, "worker/records", `${lost}.json`));
  await writeFile(join(dir, "worker/records", `${damaged}.json`), '{"version":1');
  await reopen();
  expect(await states()).toEqual({ [lost]: "running", [damaged]: "running" });
  await expect(host.start(spec(lost))).resolves.toMatchObject({ image: "unknown" });
  for (const sandboxId of [lost, damaged]) await host.destroy({ sandboxId, epoch: 1 });
  expect(livingBoxes(boxes)).toEqual([]);
});

test("takes over a box of which a crash cut short the word that it runs", async () => {
  const id = freshId();
  const path = join(dir, "worker/records", `${id}.json`);
  await host.start(spec(id));
  const [before = "", running = ""] = (await readFile(path, "utf8")).split("\n");
  for (const left of [`${before}\n${running.slice(0, running.length / 2)}`, `${before}\n${"\0".repeat(running.length)}`]) {
    await host.close();
    await writeFile(path, left);
    await reopen();
    expect(await states()).toEqual({ [id]: "running" });
    expect(host.present(id)).toMatchObject({ epoch: 1 });
    // What it was made of came with the first word, and it says again that it runs.
    await expect(host.start(spec(id))).resolves.toMatchObject({ image: "host" });
    expect(await readFile(path, "utf8")).toBe(`${left}\n${running}`);
  }
  expect(logged.filter(({ message }) => message.includes("damaged"))).toEqual([]);
});

test("leaves records that an older worker reads", async () => {
  const id = freshId();
  const path = join(dir, "worker/records", `${id}.json`);
  await host.start(spec(id));
  const [starting = "", running = ""] = (await readFile(path, "utf8")).split("\n");
  await host.close();
  expect(await readFile(path, "utf8")).toBe(running);
  // Also those that a worker left that was killed.
  await writeFile(path, `${starting}\n${running}`);
  host = makeHost();
  await host.open();
  await host.close();
  expect(await readFile(path, "utf8")).toBe(running);
  expect(JSON.parse(running)).toMatchObject({ phase: "running", spec: { image: "host" }, handle: { provider: "process" } });
});

test("a start that is called off while its record is written ends after that", async () => {
  const [id, pipe] = [freshId(), join(dir, "pipe")];
  const path = join(dir, "worker/records", `${id}.json`);
  execFileSync("mkfifo", [pipe]);
  const end = openSync(pipe, constants.O_RDWR | constants.O_NONBLOCK);
  // What is written to a pipe that is full waits for a reader.
  const full = Buffer.alloc(writeSync(end, Buffer.alloc(1_048_576)));
  provider.faults.afterBoot = async () => {
    await rm(path);
    await link(pipe, path);
  };
  provider.faults.silent = true;
  const order: string[] = [];
  provider.faults.beforeDestroy = async () => void order.push("destroyed");
  const ending = new AbortController();
  const started = host.start(spec(id), ending.signal);
  started.catch(() => undefined);
  const opened = (): (string | undefined)[] => readdirSync("/proc/self/fd").map((fd) => linkOf(`/proc/self/fd/${fd}`));
  await expect.poll(opened).toContain(path);
  ending.abort();
  await expect(started).rejects.toEqual(code("cancelled"));
  readSync(end, full);
  order.push("read");
  await expect.poll(async () => (await stat(path)).isFile()).toBe(true);
  expect(await readFile(path, "utf8")).toContain('"ended"');
  expect(order).toEqual(["read", "destroyed"]);
  expect(await states()).toEqual({});
  closeSync(end);
});

test("removes a box that is back although its sandbox has ended", async () => {
  const id = freshId();
  await host.destroy({ sandboxId: id, epoch: 5 });
  await provider.start({ ...spec(id, 4), rootfs: { kind: "host", skeleton: "" }, hostname: id });
  expect(livingBoxes(boxes)).toHaveLength(1);
  await reopen();
  expect(await host.inventory()).toEqual([]);
  expect(livingBoxes(boxes)).toEqual([]);
});

test("removes what a provider's own trial left in a crash", async () => {
  await provider.start({ ...spec("probe0123", 1), rootfs: { kind: "host", skeleton: "" }, hostname: "probe" });
  await reopen();
  expect(await host.inventory()).toEqual([]);
  expect(livingBoxes(boxes)).toEqual([]);
});

test("concludes nothing from a provider that is silent or switched off", async () => {
  const id = freshId();
  await host.start(spec(id));
  await host.close();
  provider.faults.beforeList = () => Promise.reject(new Error("cannot list"));
  host = makeHost();
  expect(await states()).toEqual({ [id]: "unhealthy" });
  await host.close();
  host = makeHost({}, systemClock, []);
  expect(await states()).toEqual({ [id]: "unhealthy" });
  await expect(host.destroy({ sandboxId: id, epoch: 1 })).rejects.toEqual(code("provider_unavailable"));
  expect(livingBoxes(boxes)).toHaveLength(1);
  await reopen();
  expect(await states()).toEqual({ [id]: "running" });
});

test("tells of all others in time while a provider does not list, and while a box cannot be removed", async () => {
  const [id, leftover] = [freshId(), freshId()];
  await host.start(spec(id));
  await host.destroy({ sandboxId: leftover, epoch: 5 });
  await host.close();
  await provider.start({ ...spec(leftover, 4), rootfs: { kind: "host", skeleton: "" }, hostname: leftover });
  const clock = new VirtualClock();
  const mock = new MockProvider(new MockMachine(clock), { clock, log: () => undefined });
  const [removal, list] = [gate(), gate()];
  provider.faults.beforeDestroy = removal.hook;
  host = makeHost({}, clock, [mock, provider]);
  const over = new AbortController();
  const late = systemClock.sleep(20_000, over.signal).then(() => Promise.reject(new Error("it waits")));
  try {
    const opened = host.open();
    await removal.reached;
    await clock.advance(3_000);
    await Promise.race([opened, late]);

    mock.list = async () => {
      await list.hook();
      return [];
    };
    const told = host.inventory();
    await list.reached;
    // Control planes wait 15 s.
    await clock.advance(14_000);
    expect(await Promise.race([told, late])).toMatchObject([{ sandboxId: id, state: "running" }]);
  } finally {
    late.catch(() => undefined);
    over.abort();
    list.open();
    removal.open();
  }
  await host.close();
  expect(await provider.list()).toMatchObject([{ sandboxId: id }]);
});

test("a removal that fails can be repeated, also after a restart", async () => {
  const id = freshId();
  await host.start(spec(id));
  provider.faults.beforeDestroy = () => Promise.reject(new Error("busy"));
  await expect(host.destroy({ sandboxId: id, epoch: 1 })).rejects.toThrow("busy");
  expect(Object.keys(await states())).toEqual([id]);
  await reopen();
  await host.destroy({ sandboxId: id, epoch: 1 });
  expect(await readdir(boxes)).toEqual([]);
});

test("an agent that falls silent is unhealthy, answers again, and a dead one is stopped", async () => {
  const id = freshId();
  await host.close();
  const told: SandboxRef[] = [];
  host = makeHost({ healthEveryMs: 20, deadlines: { health: 2_000 }, changed: (ref) => told.push(ref) });
  const box = await host.start(spec(id));
  const until = async (state: string): Promise<void> => {
    while ((await host.inspect(id))?.state !== state) await systemClock.sleep(10);
  };
  const pid = await provider.pid(id);
  await until("running");
  expect(told).toEqual([]);
  process.kill(pid, "SIGSTOP");
  await until("unhealthy");
  expect(told[0]).toEqual({ sandboxId: id, epoch: 1 });
  expect((await host.inspect(id))?.reason).toContain("does not answer");
  process.kill(pid, "SIGCONT");
  await until("running");
  const before = told.length;
  expect(before).toBeGreaterThanOrEqual(2);
  process.kill(pid, "SIGKILL");
  await until("stopped");
  expect(told.length).toBeGreaterThan(before);
  await expect(host.guest(box).open("Stats", {}).reply).rejects.toEqual(code("agent_unreachable"));
});

test("a box that ends is seen to at once, whenever the next check is", async () => {
  const id = freshId();
  await host.close();
  const ended = Promise.withResolvers<SandboxRef>();
  host = makeHost({ healthEveryMs: 0, changed: ended.resolve });
  await host.start(spec(id));
  process.kill(await provider.pid(id), "SIGKILL");
  expect(await ended.promise).toEqual({ sandboxId: id, epoch: 1 });
  expect(host.present(id)).toMatchObject({ state: "stopped" });
});

test("probes once, and again when asked; a probe that fails is a reason", async () => {
  expect((await host.describe()).providers[0]).toMatchObject({ name: "process", available: true });
  await host.describe();
  expect(provider.probes).toBe(1);
  provider.probe = () => Promise.reject(new Error("no kernel"));
  await host.refresh();
  expect((await host.describe()).providers[0]).toMatchObject({ available: false, reason: "no kernel" });
});

test("closing stops no box, calls a start off, and refuses what comes later", async () => {
  await host.start(spec(freshId()));
  const boot = gate();
  provider.faults.beforeBoot = boot.hook;
  const starting = host.start(spec(freshId()));
  const refused = starting.catch((error: unknown) => error);
  await boot.reached;
  const closed = host.close();
  boot.open();
  await closed;
  expect(await refused).toEqual(code("shutting_down"));
  expect(livingBoxes(boxes)).toHaveLength(1);
  await expect(host.start(spec(freshId()))).rejects.toEqual(code("shutting_down"));
});
