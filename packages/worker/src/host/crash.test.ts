import { spawn } from "node:child_process";
import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { systemClock, systemRandom } from "@caisson/contract";
import { afterEach, beforeEach, expect, test } from "vitest";
import { livingBoxes, ProcessProvider, settledBoxes } from "../fixtures/process-provider.ts";
import { ImageStore } from "../images/image-store.ts";
import { LocalHost } from "./local-host.ts";

const WORKER = new URL("../fixtures/crash-host.ts", import.meta.url).pathname;
let dir = "";
let boxes = "";

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "caisson-crash-"));
  boxes = join(dir, "boxes");
  await mkdir(boxes);
});
afterEach(async () => {
  for (const pid of livingBoxes(boxes)) process.kill(pid, "SIGKILL");
  await rm(dir, { recursive: true, force: true });
});

/** What the worker had been answered when it was killed. */
interface Heard {
  readonly started: Set<string>;
  readonly destroyed: Set<string>;
  readonly destroying: Set<string>;
}

/** Runs a worker and kills it -9 at its nth line, wherever it is then in all its lanes. */
async function runAndKill(lines: number): Promise<Heard> {
  const child = spawn(process.execPath, ["-C", "@caisson/source", "--no-warnings", WORKER, dir, boxes], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const heard: Heard = { started: new Set(), destroyed: new Set(), destroying: new Set() };
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  let seen = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    const [verb = "", id = ""] = line.split(" ");
    if (verb === "started" || verb === "destroyed" || verb === "destroying") heard[verb].add(id);
    seen += 1;
    if (seen === lines) child.kill("SIGKILL");
  }
  await exited;
  await settledBoxes(boxes);
  expect(child.signalCode).toBe("SIGKILL");
  return heard;
}

function reopened(): LocalHost {
  const images = new ImageStore({ dir: join(dir, "images"), machine: join(dir, "machine"), clock: systemClock, log: () => undefined });
  const providers = [new ProcessProvider(boxes)];
  const log = (): void => undefined;
  return new LocalHost({
    workerId: "local",
    dataDir: dir,
    providers,
    images,
    clock: systemClock,
    random: systemRandom,
    log,
    healthEveryMs: 0,
  });
}

test("a worker killed in the middle loses no box that was answered, and leaves none that nobody knows", async () => {
  const gone = new Set<string>();
  const kept = new Set<string>();
  // Each run goes on where the last one was killed, and is killed at another place.
  for (const lines of [2, 5, 7, 11, 16]) {
    const heard = await runAndKill(lines);
    for (const id of heard.destroyed) gone.add(id);
    for (const id of heard.started) if (!heard.destroying.has(id)) kept.add(id);

    const host = reopened();
    const inventory = await host.inventory();
    const known = new Map(inventory.map((box) => [box.sandboxId, box]));
    for (const id of kept) expect(known.get(id)?.state, `${id} was answered`).toBe("running");
    for (const id of gone) expect(known.has(id), `${id} was destroyed`).toBe(false);
    const running = inventory.filter((box) => box.state === "running");
    expect(livingBoxes(boxes)).toHaveLength(running.length);
    expect((await readdir(join(dir, "worker/records"))).filter((name) => !name.endsWith(".json"))).toEqual([]);
    expect(await readdir(join(dir, "images/staging"))).toEqual([]);
    await host.close();
  }

  const host = reopened();
  for (const { sandboxId, epoch } of await host.inventory()) await host.destroy({ sandboxId, epoch });
  expect(await host.inventory()).toEqual([]);
  expect(livingBoxes(boxes)).toEqual([]);
  expect(await readdir(boxes)).toEqual([]);
  expect((await host.images.list())[0]).toMatchObject({ sandboxes: 0 });
  await host.close();
}, 600_000);
