import { spawnSync } from "node:child_process";
import { lstat, mkdir, mkdtemp, readdir, readFile, readlink, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { systemClock } from "@caisson/contract";
import { pack, type Header } from "tar-stream";
import { afterEach, beforeEach, expect, test } from "vitest";
import { removeTree } from "../durable/remove-tree.ts";
import { ImageStore } from "./image-store.ts";

let dir = "";
let images: ImageStore;
const notes: string[] = [];
const log = (_level: string, message: string): void => void notes.push(message);
const open = (options: Partial<ConstructorParameters<typeof ImageStore>[0]> = {}): ImageStore =>
  new ImageStore({ dir: join(dir, "images"), machine: join(dir, "machine"), clock: systemClock, log, ...options });

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "caisson-import-"));
  images = open();
  notes.length = 0;
});
afterEach(() => removeTree(dir));

type Item = Partial<Header> & { readonly name: string; readonly text?: string };

/** A tar archive with exactly these entries, valid or not. */
async function tarOf(...items: readonly Item[]): Promise<Buffer> {
  const archive = pack();
  for (const { text, ...header } of items) archive.entry({ mtime: new Date(1_700_000_000_000), ...header }, text ?? "");
  archive.finalize();
  const chunks: Uint8Array[] = [];
  for await (const chunk of archive as AsyncIterable<Uint8Array>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Gives bytes in pieces, so that nothing depends on how they were cut. */
async function* pieces(bytes: Uint8Array, size = 1000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += size) yield bytes.subarray(at, at + size);
}

const load = (name: string, bytes: Uint8Array): ReturnType<ImageStore["importArchive"]> => images.importArchive(name, pieces(bytes));

async function rootOf(name: string): Promise<string> {
  const { rootfs } = await images.resolve(name);
  if (rootfs.kind !== "folder") throw new Error("not a folder");
  return rootfs.path;
}

/** Nothing of an import that failed may remain. */
async function expectNothingLeft(): Promise<void> {
  expect(await readdir(join(dir, "images/staging"))).toEqual([]);
  expect(await readdir(join(dir, "images/trees"))).toEqual([]);
  expect((await images.list()).map(({ name }) => name)).toEqual(["host"]);
}

test("unpacks what a real tar made, and the three packings are one content", async () => {
  const source = join(dir, "source");
  await mkdir(join(source, "etc"), { recursive: true });
  await writeFile(join(source, "etc/motd"), "hello\n");
  await writeFile(join(source, "large"), Buffer.alloc(3_000_000, 7));
  const script = "ln -s etc/motd link && ln large second && chmod 750 etc && chmod 4755 etc/motd && mknod pipe p && tar -cf ../a.tar .";
  expect(spawnSync("sh", ["-ec", script], { cwd: source }).status).toBe(0);
  const plain = await readFile(join(dir, "a.tar"));

  const first = await load("base:1", plain);
  const root = await rootOf("base:1");
  expect(await readFile(join(root, "etc/motd"), "utf8")).toBe("hello\n");
  expect(await readlink(join(root, "link"))).toBe("etc/motd");
  expect((await stat(join(root, "etc"))).mode & 0o7777).toBe(0o750);
  expect((await stat(join(root, "second"))).ino).toBe((await stat(join(root, "large"))).ino);
  expect((await readFile(join(root, "large"))).equals(Buffer.alloc(3_000_000, 7))).toBe(true);
  expect(await readdir(root)).not.toContain("pipe");
  expect(notes).toEqual(["left 1 entries of the kind fifo out of an image"]);
  expect(first).toMatchObject({ name: "base:1", source: "import", size_bytes: 3_000_006, sandboxes: 0 });
  expect((await stat(join(root, "etc/motd"))).mode & 0o7777).toBe(process.getuid?.() === 0 ? 0o4755 : 0o755);

  const second = await load("base:gz", gzipSync(plain));
  const third = await load("base:zst", zstdCompressSync(plain));
  expect([second.digest, third.digest]).toEqual([first.digest, first.digest]);
  expect(await readdir(join(dir, "images/trees"))).toHaveLength(1);
  expect((await images.list()).map(({ name }) => name)).toEqual(["host", "base:1", "base:gz", "base:zst"]);
});

test("keeps the ids of an image when it is root", async () => {
  await load("ids", await tarOf({ name: "a", uid: 33, gid: 44, text: "x" }));
  const entry = await lstat(join(await rootOf("ids"), "a"));
  const expected = process.getuid?.() === 0 ? [33, 44] : [process.getuid?.(), process.getgid?.()];
  expect([entry.uid, entry.gid]).toEqual(expected);
});

const evil: readonly (readonly [string, readonly Item[]])[] = [
  ["a .. path", [{ name: "../outside", text: "x" }]],
  ["a hidden .. path", [{ name: "a/../../outside", text: "x" }]],
  [
    "a write through a link",
    [
      { name: "out", type: "symlink", linkname: "/tmp" },
      { name: "out/outside", text: "x" },
    ],
  ],
  [
    "a folder below a link",
    [
      { name: "out", type: "symlink", linkname: "../.." },
      { name: "out/outside", type: "directory" },
    ],
  ],
  [
    "a write through a link below a folder",
    [
      { name: "d/out", type: "symlink", linkname: "../../.." },
      { name: "d/out/e/f", text: "x" },
    ],
  ],
  ["a hard link to the outside", [{ name: "x", type: "link", linkname: "../../../../etc/passwd" }]],
  ["a hard link to an absolute path", [{ name: "x", type: "link", linkname: "/etc/passwd" }]],
  [
    "a hard link through a link",
    [
      { name: "e", type: "symlink", linkname: "/etc" },
      { name: "x", type: "link", linkname: "e/passwd" },
    ],
  ],
  [
    "a hard link to a link",
    [
      { name: "e", type: "symlink", linkname: "/etc/passwd" },
      { name: "x", type: "link", linkname: "e" },
    ],
  ],
  [
    "a file in place of a folder",
    [
      { name: "d", type: "directory" },
      { name: "d", text: "x" },
    ],
  ],
  ["a file in place of the root", [{ name: "./", text: "x", type: "file" }]],
  ["a name that is too long", [{ name: "n".repeat(300), text: "x" }]],
  ["nothing at all", []],
];
for (const [what, items] of evil) {
  test(`refuses ${what} and leaves nothing`, async () => {
    const outside = join(dir, "outside");
    await expect(load("evil", await tarOf(...items))).rejects.toMatchObject({ code: "invalid_request" });
    await expect(lstat(outside)).rejects.toMatchObject({ code: "ENOENT" });
    await expect(lstat("/tmp/outside")).rejects.toMatchObject({ code: "ENOENT" });
    await expectNothingLeft();
  });
}

test("an absolute path lands inside, a link that points out is only a link, and a later entry wins", async () => {
  await load(
    "odd",
    await tarOf({ name: "/etc/x", text: "1" }, { name: "out", type: "symlink", linkname: "/tmp" }, { name: "out", text: "2" }),
  );
  const root = await rootOf("odd");
  expect(await readFile(join(root, "etc/x"), "utf8")).toBe("1");
  expect(await readFile(join(root, "out"), "utf8")).toBe("2");
  expect((await lstat(join(root, "out"))).isFile()).toBe(true);
});

test("refuses what is no archive, what is damaged, and what breaks off", async () => {
  const good = await tarOf({ name: "a", text: "x".repeat(5000) });
  const packed = gzipSync(good);
  packed[packed.byteLength - 20] = (packed[packed.byteLength - 20] ?? 0) ^ 0xff;
  for (const bytes of [
    Buffer.from("hello"),
    Buffer.alloc(0),
    Buffer.alloc(4096, 1),
    packed,
    good.subarray(0, 2000),
    gzipSync(good).subarray(0, 60),
  ])
    await expect(load("bad", bytes)).rejects.toMatchObject({ code: "invalid_request" });
  async function* broken(): AsyncGenerator<Uint8Array> {
    yield good.subarray(0, 1500);
    throw new Error("connection reset");
  }
  await expect(images.importArchive("bad", broken())).rejects.toMatchObject({ code: "cancelled" });
  await expectNothingLeft();
});

test("a cancelled import ends and leaves nothing", async () => {
  const controller = new AbortController();
  const good = await tarOf({ name: "a", text: "x".repeat(5000) });
  let returned = false;
  async function* stuck(): AsyncGenerator<Uint8Array> {
    try {
      yield good.subarray(0, 1500);
      controller.abort();
      yield await new Promise<never>((_resolve, reject) => controller.signal.addEventListener("abort", reject));
    } finally {
      returned = true;
    }
  }
  await expect(images.importArchive("slow", stuck(), controller.signal)).rejects.toMatchObject({ code: "cancelled" });
  expect(returned).toBe(false);
  await expectNothingLeft();
});

test("holds archives to their limits", async () => {
  images = open({ archiveLimits: { entries: 3, bytes: 10_000 } });
  const bomb = gzipSync(await tarOf({ name: "a", text: "\0".repeat(200_000) }));
  await expect(load("bomb", bomb)).rejects.toMatchObject({ code: "payload_too_large" });
  await expect(load("deep", await tarOf({ name: "a/b/c/d/e/f", text: "" }))).rejects.toMatchObject({ code: "payload_too_large" });
  await expectNothingLeft();
});

test("cuts off an archive whose headers have no end", async () => {
  const head = await tarOf({ name: "x", text: "x" });
  // A header of the kind `x` that says a gigabyte follows.
  head.write("x", 156, "latin1");
  head.write("07777777777\0", 124, "latin1");
  head.write("        ", 148, "latin1");
  const sum = head.subarray(0, 512).reduce((total, byte) => total + byte, 0);
  head.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  let sent = 0;
  async function* endless(): AsyncGenerator<Uint8Array> {
    yield head.subarray(0, 512);
    for (const chunk = Buffer.alloc(65_536, "a"); ; sent += chunk.byteLength) yield chunk;
  }
  await expect(images.importArchive("endless", endless())).rejects.toMatchObject({ code: "invalid_request" });
  expect(sent).toBeLessThan(16 * 1024 * 1024);
  await expectNothingLeft();
});

test("refuses names that are taken or no names", async () => {
  const good = await tarOf({ name: "a", text: "x" });
  for (const name of ["host", "Upper", "-rf", "a b", "", "../x", "sha256:abc"])
    await expect(load(name, good)).rejects.toMatchObject({ code: "invalid_request" });
});

test("an image in use stays, and goes when nothing holds it", async () => {
  const one = await load("app", await tarOf({ name: "a", text: "1" }));
  const used = await images.use("app", "sb1");
  expect((await images.list())[1]).toMatchObject({ name: "app", sandboxes: 1 });
  await expect(images.remove("app")).rejects.toMatchObject({ code: "image_in_use" });
  const two = await load("app", await tarOf({ name: "a", text: "2" }));
  expect(two.digest).not.toBe(one.digest);
  // The old content has no name now, but a sandbox still runs on it.
  expect((await images.resolve(one.digest ?? "")).rootfs).toEqual(used.rootfs);
  await images.release("sb1");
  await images.sweep();
  await expect(images.resolve(one.digest ?? "")).rejects.toMatchObject({ code: "image_not_found" });
  await images.remove("app");
  await expectNothingLeft();
  await expect(images.remove("app")).rejects.toMatchObject({ code: "image_not_found" });
  await expect(images.remove("host")).rejects.toMatchObject({ code: "invalid_request" });
});

test("unused images go after a while, counted from their last use", async () => {
  let now = 1_000_000_000_000;
  const clock = { ...systemClock, now: () => now };
  images = open({ clock, keepUnusedMs: 1000 });
  await load("used", await tarOf({ name: "a", text: "1" }));
  await load("never", await tarOf({ name: "a", text: "2" }));
  await images.use("used", "sb1");
  now += 10_000;
  await images.sweep();
  await images.release("sb1");
  now += 999;
  await images.sweep();
  expect((await images.list()).map(({ name }) => name)).toEqual(["host", "never", "used"]);
  now += 1;
  await images.sweep();
  expect((await images.list()).map(({ name }) => name)).toEqual(["host", "never"]);
  now += 3_600_000;
  await images.sweep();
  await expectNothingLeft();
});

test("is the same after a restart, without what a crash left unfinished", async () => {
  const { digest } = await load("app", await tarOf({ name: "a", text: "1" }));
  await mkdir(join(dir, "images/staging/half/rootfs"), { recursive: true });
  await mkdir(join(dir, "images/trees", "f".repeat(64), "rootfs"), { recursive: true });
  await writeFile(join(dir, "images/.index.json.0123.unfinished"), "{");
  images = open();
  expect((await images.list()).map((image) => image.digest)).toEqual([null, digest]);
  expect(await readdir(join(dir, "images/staging"))).toEqual([]);
  expect(await readdir(join(dir, "images/trees"))).toHaveLength(1);
  expect((await readdir(join(dir, "images"))).sort()).toEqual(["host", "index.json", "staging", "trees"]);
});
