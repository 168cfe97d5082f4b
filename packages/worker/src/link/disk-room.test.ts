import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { diskRoom } from "./disk-room.ts";

let dataDir = "";
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "caisson-room-"));
  await mkdir(join(dataDir, "worker"));
});
afterEach(() => rm(dataDir, { recursive: true }));

/** The room as a start finds it. */
const start = (freeMb: number, boxes: number): Promise<number> => diskRoom({ dataDir, freeMb, boxes });

it("stays what it was while sandboxes fill it, however often the worker starts", async () => {
  expect(await start(1000, 0)).toBe(1000);
  expect(await start(700, 3)).toBe(1000);
  expect(await start(100, 9)).toBe(1000);
  // They are gone, and something else has grown meanwhile.
  expect(await start(950, 0)).toBe(950);
  expect(await start(900, 1)).toBe(950);
});

it("grows with the disk, and is no more than what is free where nothing was kept", async () => {
  expect(await start(600, 2)).toBe(600);
  expect(await start(500, 2)).toBe(600);
  expect(await start(5000, 2)).toBe(5000);
  await writeFile(join(dataDir, "worker", "disk-room.json"), '{"version":1,"disk_mb":-5}');
  expect(await start(400, 2)).toBe(400);
  expect(await readdir(join(dataDir, "worker"))).toEqual(["disk-room.json"]);
});
