import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { pack, type Header } from "tar-stream";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { placeTree } from "./place-tree.ts";
import { safeParts, staysInside } from "./safe-name.ts";
import { unpackTree, type UnpackOptions } from "./unpack-tree.ts";

let root: string;
let outside: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "caisson-unpack-"));
  outside = join(root, "outside");
  mkdirSync(outside);
  writeFileSync(join(outside, "victim"), "untouched");
  mkdirSync(join(root, "to"));
});
afterEach(() => {
  const seen = [readdirSync(root).toSorted(), readdirSync(outside), readFileSync(join(outside, "victim"), "utf8")].join();
  if (seen !== "outside,to,victim,untouched") throw new Error(`Something was written elsewhere: ${seen}`);
  rmSync(root, { recursive: true, force: true });
});

type Entry = Partial<Header> & { readonly name: string; readonly content?: string };

/** An archive of these entries, just as they are. */
async function* tar(...entries: Entry[]): AsyncGenerator<Uint8Array> {
  const archive = pack();
  for (const { content, ...header } of entries) {
    // An entry that nobody wants any more fails by itself.
    const sink = archive.entry(header, content ?? "") as unknown as NodeJS.EventEmitter;
    sink.on("error", () => undefined);
  }
  archive.finalize();
  yield* archive as unknown as AsyncIterable<Uint8Array>;
}

async function copy(entries: Entry[], options: UnpackOptions = {}): Promise<readonly string[]> {
  const target = join(root, "to");
  const tree = await unpackTree(tar(...entries), target, options);
  try {
    await placeTree(tree.folder, target);
  } finally {
    rmSync(tree.folder, { recursive: true, force: true });
  }
  return tree.left;
}

/** Symlinks in a folder and below; none is followed. */
function linksBelow(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? linksBelow(path) : entry.isSymbolicLink() ? [path] : [];
  });
}

const to = (path: string): string => join(root, "to", path);

describe("a tree of a sandbox", () => {
  it("is unpacked with folders, files, inner links and hard links", async () => {
    const left = await copy([
      { name: "./", type: "directory", mode: 0o750 },
      { name: "a/b/", type: "directory", mode: 0o755 },
      { name: "a/b/file", mode: 0o640, content: "text", mtime: new Date(1_700_000_000_000) },
      { name: "a/link", type: "symlink", linkname: "b/file" },
      { name: "a/b/up", type: "symlink", linkname: "../link" },
      { name: "hard", type: "link", linkname: "a/b/file" },
      { name: "implied/by/its/name", content: "x" },
    ]);
    expect(left).toEqual([]);
    expect(readFileSync(to("a/link"), "utf8")).toBe("text");
    expect(readFileSync(to("a/b/up"), "utf8")).toBe("text");
    expect(lstatSync(to("hard")).ino).toBe(lstatSync(to("a/b/file")).ino);
    expect(lstatSync(to("a/b/file")).mode & 0o7777).toBe(0o640 & ~process.umask());
    expect(lstatSync(to("a/b/file")).mtimeMs).toBe(1_700_000_000_000);
    expect(readFileSync(to("implied/by/its/name"), "utf8")).toBe("x");
  });

  it.each([
    [".. at the start", [{ name: "../outside/victim", content: "evil" }]],
    [".. within", [{ name: "a/../../outside/victim", content: "evil" }]],
    [".. as a folder", [{ name: "..", type: "directory" }]],
    ["an absolute name", [{ name: "/tmp/evil", content: "evil" }]],
    ["a file as the folder itself", [{ name: ".", content: "evil" }]],
    [
      "a file through a link",
      [
        { name: "l", type: "symlink", linkname: "a" },
        { name: "a/", type: "directory" },
        { name: "l/x", content: "evil" },
      ],
    ],
    [
      "a folder in place of a link",
      [
        { name: "l", type: "symlink", linkname: "a" },
        { name: "l/", type: "directory" },
      ],
    ],
    [
      "a file through a file",
      [
        { name: "f", content: "" },
        { name: "f/x", content: "evil" },
      ],
    ],
    [
      "a file in place of a folder",
      [
        { name: "d/", type: "directory" },
        { name: "d", content: "evil" },
      ],
    ],
    ["a hard link out", [{ name: "h", type: "link", linkname: "../outside/victim" }]],
    ["a hard link to an absolute name", [{ name: "h", type: "link", linkname: "/etc/passwd" }]],
    [
      "a hard link to a symlink",
      [
        { name: "l", type: "symlink", linkname: "a" },
        { name: "h", type: "link", linkname: "l" },
      ],
    ],
    ["a hard link to nothing", [{ name: "h", type: "link", linkname: "none" }]],
    ["a name that is too long", [{ name: "x".repeat(256), content: "" }]],
    ["a path that is too deep", [{ name: "d/".repeat(300) + "f", content: "" }]],
  ] as [string, Entry[]][])("is refused with %s, and leaves nothing", async (_what, entries) => {
    await expect(copy([{ name: "good", content: "good" }, ...entries])).rejects.toMatchObject({ code: "protocol_error" });
    expect(readdirSync(to("."))).toEqual([]);
  });

  it("leaves out links that lead away, devices and pipes, and tells them", async () => {
    const left = await copy([
      { name: "abs", type: "symlink", linkname: "/etc/passwd" },
      { name: "up", type: "symlink", linkname: "../outside/victim" },
      { name: "d/inside", type: "symlink", linkname: ".." },
      { name: "d/trick", type: "symlink", linkname: "inside/../../outside" },
      { name: "null", type: "character-device", devmajor: 1, devminor: 3 },
      { name: "disk", type: "block-device", devmajor: 8, devminor: 0 },
      { name: "pipe", type: "fifo" },
      { name: "file", content: "x" },
    ]);
    expect(left.map((line) => line.split(":")[0])).toEqual(["abs", "up", "d/trick", "null", "disk", "pipe"]);
    expect(readdirSync(to(".")).toSorted()).toEqual(["d", "file"]);
    expect(readlinkSync(to("d/inside"))).toBe("..");
  });

  it("drops set-id and sticky bits", async () => {
    await copy([
      { name: "suid", mode: 0o4755, content: "#!/bin/sh" },
      { name: "sgid/", type: "directory", mode: 0o2777 },
      { name: "sticky/", type: "directory", mode: 0o1777 },
    ]);
    for (const name of ["suid", "sgid", "sticky"]) expect(lstatSync(to(name)).mode & 0o7000).toBe(0);
  });

  it("never follows a link that is there already", async () => {
    symlinkSync(outside, to("dir"));
    await expect(copy([{ name: "dir/victim", content: "evil" }])).rejects.toMatchObject({ code: "already_exists" });
    symlinkSync(join(outside, "victim"), to("file"));
    await copy([{ name: "file", content: "mine" }]);
    expect(lstatSync(to("file")).isFile()).toBe(true);
    expect(readFileSync(to("file"), "utf8")).toBe("mine");
  });

  it("replaces files, keeps others, and does not replace a folder by a file", async () => {
    mkdirSync(to("d/sub"), { recursive: true });
    writeFileSync(to("d/keep"), "kept");
    writeFileSync(to("d/old"), "old");
    await copy([
      { name: "d/old", content: "new" },
      { name: "d/more", content: "more" },
    ]);
    expect(["keep", "old", "more"].map((name) => readFileSync(to(`d/${name}`), "utf8"))).toEqual(["kept", "new", "more"]);
    await expect(copy([{ name: "d/sub", content: "x" }])).rejects.toMatchObject({ code: "already_exists" });
  });

  it("is bounded in entries, those implied by names included, and in bytes", async () => {
    const limits = { entries: 10, bytes: 100 };
    const many = Array.from({ length: 11 }, (_, i) => ({ name: `f${i}`, content: "" }));
    for (const entries of [many, [{ name: `${"d/".repeat(11)}f`, content: "" }], [{ name: "big", content: "x".repeat(101) }]])
      await expect(copy(entries, { limits })).rejects.toMatchObject({ code: "payload_too_large" });
    expect(readdirSync(to("."))).toEqual([]);
  });

  it("is bounded in what is held: headers, and the lines of what is left out", async () => {
    await expect(copy([{ name: "a", content: "x", pax: { comment: "x".repeat(12_000_000) } }])).rejects.toMatchObject({
      code: "protocol_error",
    });
    expect(readdirSync(join(root, "to"))).toEqual([]);
    const many = Array.from({ length: 1_500 }, (_, n): Entry => ({ name: `p${n}`, type: "fifo" }));
    expect(await copy([...many, { name: "large", content: "x".repeat(6_000_000) }, { name: "last", content: "x" }])).toHaveLength(1_001);
    expect(readdirSync(join(root, "to")).toSorted()).toEqual(["large", "last"]);
  });

  it("that is damaged or breaks off is refused whole", async () => {
    const whole: Uint8Array[] = [];
    for await (const bytes of tar({ name: "a", content: "a".repeat(5_000) }, { name: "b", content: "b" })) whole.push(bytes);
    const bytes = Buffer.concat(whole);
    const unpack = (damaged: Uint8Array) =>
      unpackTree(
        (async function* () {
          yield damaged;
        })(),
        to("."),
      );
    const flipped = Buffer.from(bytes);
    flipped.fill("x", 148, 156);
    for (const damaged of [bytes.subarray(0, 700), flipped, Buffer.alloc(10_000, "junk")])
      await expect(unpack(damaged)).rejects.toMatchObject({ code: "protocol_error" });
    const broken = (async function* () {
      yield bytes.subarray(0, 2_000);
      throw new Error("the connection broke");
    })();
    await expect(unpackTree(broken, to("."))).rejects.toMatchObject({ code: "protocol_error" });
    expect(readdirSync(to("."))).toEqual([]);
  });

  it("of random hostile entries never writes elsewhere", async () => {
    const path = (...parts: string[]) => fc.array(fc.constantFrom(...parts), { minLength: 1, maxLength: 3 }).map((all) => all.join("/"));
    // Mostly harmless, or nothing would ever get as far as the last entry.
    const name = fc.oneof({ weight: 12, arbitrary: path("a", "b", "l") }, { weight: 1, arbitrary: path("a", "..", "outside", "victim") });
    const entry = fc.record({
      name,
      type: fc.constantFrom("file" as const, "directory" as const, "symlink" as const, "symlink" as const, "link" as const),
      linkname: fc.oneof(path("a", "b", "l", ".."), fc.constantFrom("../outside", "../../outside/victim", outside, "l/../..")),
    });
    const run = fc.asyncProperty(fc.array(entry, { maxLength: 5 }), async (entries) => {
      await copy(entries.map((one) => (one.type === "file" ? { ...one, content: "evil" } : one))).catch(() => undefined);
      expect(readFileSync(join(outside, "victim"), "utf8")).toBe("untouched");
      expect(readdirSync(outside)).toEqual(["victim"]);
      expect(readdirSync(root).toSorted()).toEqual(["outside", "to"]);
      // Every link that was let in stays in, wherever it goes through.
      for (const link of linksBelow(to(".")))
        if (existsSync(link)) expect(`${realpathSync(link)}/`.startsWith(`${realpathSync(to("."))}/`)).toBe(true);
    });
    await fc.assert(run, { numRuns: 300 });
  });
});

it.each([
  ["a", 0, true],
  ["..", 0, false],
  ["..", 1, true],
  ["../..", 1, false],
  ["../a/b", 1, true],
  ["a/../b", 1, false],
  ["./../a", 1, true],
  ["/a", 5, false],
  ["", 1, false],
])("the link to %j, %i deep, stays inside: %s", (target, depth, inside) => {
  expect(staysInside(target, depth)).toBe(inside);
});

it("normal names are normal", () => {
  expect(safeParts("./a//b/./c/")).toEqual(["a", "b", "c"]);
});
