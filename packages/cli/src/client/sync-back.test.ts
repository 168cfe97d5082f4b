import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { pack, type Header } from "tar-stream";
import { readLocalTree } from "./local-tree.ts";
import { syncBack } from "./sync-back.ts";

let root: string;
let folder: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "caisson-sync-back-"));
  folder = join(root, "folder");
  await mkdir(join(folder, "dir"), { recursive: true });
  await mkdir(join(root, "elsewhere"));
  await writeFile(join(folder, "dir/file"), "old");
  await writeFile(join(folder, "top"), "old");
});
afterEach(() => rm(root, { recursive: true, force: true }));

type Entry = Partial<Header> & { readonly name: string; readonly content?: string };

function tarOf(entries: readonly Entry[]): AsyncIterable<Uint8Array> {
  const archive = pack();
  for (const { content, ...header } of entries) archive.entry({ type: "file", mode: 0o644, ...header } as Header, content ?? "");
  archive.finalize();
  return archive as unknown as AsyncIterable<Uint8Array>;
}

const files = async (): Promise<string[]> => (await readdir(root, { recursive: true })).toSorted();

test("no name in the stream leads out of the folder", async () => {
  const before = await readLocalTree(folder, []);
  const same = [
    { name: "dir/file", content: "old" },
    { name: "top", content: "old" },
  ];
  const was = await files();
  const hostile: Entry[] = [
    { name: "../evil", content: "x" },
    { name: "/tmp/caisson-evil", content: "x" },
    { name: "dir/../../evil", content: "x" },
    { name: "way", type: "symlink", linkname: root },
    { name: "way/evil", content: "x" },
    { name: "hard", type: "link", linkname: "../../elsewhere" },
    { name: "null", type: "character-device", devmajor: 1, devminor: 3 },
    { name: ".caisson-sync-x/evil", content: "x" },
  ];
  const changes = await syncBack(folder, before, [], tarOf([{ name: "./", type: "directory" }, ...same, ...hostile]));
  // What lies below a name that was a link in the sandbox is an ordinary file here.
  expect(changes.filter((change) => change.kind !== "skipped")).toEqual([{ kind: "added", path: "way/evil" }]);
  expect(await files()).toEqual([...was, "folder/way", "folder/way/evil"].toSorted());
});

test("a folder that became a link here is not written, deleted or looked through", async () => {
  const before = await readLocalTree(folder, []);
  await writeFile(join(root, "elsewhere/file"), "old");
  await rm(join(folder, "dir"), { recursive: true });
  await symlink("../elsewhere", join(folder, "dir"));
  const written = await syncBack(folder, before, [], tarOf([{ name: "dir/file", content: "new" }, { name: "dir/other", content: "new" }, { name: "top", content: "old" }])); // prettier-ignore
  expect(written.map((change) => change.kind)).toEqual(["skipped", "skipped"]);
  const deleted = await syncBack(folder, before, [], tarOf([{ name: "top", content: "old" }]));
  expect(deleted).toEqual([{ kind: "conflict", path: "dir/file" }]);
  expect(await readFile(join(root, "elsewhere/file"), "utf8")).toBe("old");
  expect(await readdir(join(root, "elsewhere"))).toEqual(["file"]);
});

test("a stream that breaks off changes nothing", async () => {
  const before = await readLocalTree(folder, []);
  const was = await files();
  const whole: Uint8Array[] = [];
  for await (const chunk of tarOf([{ name: "top", content: "new".repeat(1000) }, { name: "x", content: "y" }])) whole.push(chunk); // prettier-ignore
  const bytes = Buffer.concat(whole);
  for (const length of [300, 700, 2000, 3900]) {
    await expect(syncBack(folder, before, [], [bytes.subarray(0, length)] as never)).rejects.toThrow(/end|stream/i);
    expect(await files()).toEqual(was);
    expect(await readFile(join(folder, "top"), "utf8")).toBe("old");
  }
});
