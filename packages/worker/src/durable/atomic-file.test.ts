import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { OpenFolder, writeAtomic } from "./atomic-file.ts";

let dir = "";

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "caisson-atomic-"));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

test("puts a file on disk whose folder is closed meanwhile", async () => {
  const folder = await OpenFolder.open(dir);
  const names = Array.from({ length: 20 }, (_, at) => `${at}`);
  const written = names.map((name) => writeAtomic(join(dir, name), name, folder));
  await written[0];
  const syncing = folder.sync();
  await folder[Symbol.asyncDispose]();
  await Promise.all([syncing, ...written, folder.sync()]);
  expect((await readdir(dir)).toSorted()).toEqual(names.toSorted());
});
