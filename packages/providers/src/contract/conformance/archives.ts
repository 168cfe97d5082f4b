import { Buffer } from "node:buffer";
import type { FileEntry, GuestClient } from "@caisson/guest";
import { pack, type Header } from "tar-stream";
import { describe, expect, it } from "vitest";
import { bytesOf, codeOf, collect, readText, type Subject } from "./subject.ts";

let folders = 0;

/** A member of an archive that a test makes. */
interface Member extends Partial<Header> {
  readonly name: string;
  readonly text?: string;
}

const END_BYTES = 1024;

/** Whole trees as tar streams, out and in. */
export function archiveCases(get: () => Subject): void {
  describe("archives", () => {
    const place = async (): Promise<{ guest: GuestClient; dir: string }> => {
      const { guest } = await get().shared();
      const dir = `/tmp/archives-${++folders}`;
      await guest.makeDir(dir);
      return { guest, dir };
    };
    const taken = async (guest: GuestClient, path: string, exclude?: readonly string[]): Promise<Buffer> =>
      Buffer.concat(await collect((await guest.readTree(path, exclude === undefined ? {} : { exclude })).content));

    it("carry a tree out and in again unchanged", async () => {
      const { guest, dir } = await place();
      const from = `${dir}/from`;
      const long = `${"d".repeat(200)}/${"e".repeat(200)}`;
      const names = ["plain", " with space ", "new\nline", "ünï 漢字 🙂", "-rf", ".hidden", `${long}/${"n".repeat(255)}`, "sub/deep/file"];
      for (const name of names) await guest.writeFile(`${from}/${name}`, bytesOf(name));
      await guest.writeFile(`${from}/empty file`, bytesOf());
      await guest.writeFile(`${from}/large`, bytesOf(Buffer.from(Array.from({ length: 700_001 }, (_, i) => (i * 13) & 255))));
      await guest.makeDir(`${from}/empty folder`, { mode: 0o2770 });
      await get().text(guest, { command: "ln -s plain link && ln -s /no/where dangling && ln -s ../../out up", cwd: from });
      for (const [name, mode] of [
        ["plain", 0o400],
        ["large", 0o755],
        ["sub/deep", 0o500],
        ["sub", 0o555],
      ] as const)
        await guest.chmod(`${from}/${name}`, mode);
      const archive = await taken(guest, from);
      const counts = await guest.writeTree(`${dir}/new/to`, bytesOf(archive));
      const before = await shape(guest, from);
      expect(await shape(guest, `${dir}/new/to`)).toEqual(before);
      expect(counts).toEqual({
        entries: Object.keys(before).length,
        bytes: 700_001 + names.reduce((sum, name) => sum + Buffer.byteLength(name), 0),
      });
      expect((await guest.stat(`${dir}/new/to`)).mode).toBe(0o755);
      expect(await namesOf(guest, `${dir}/new`)).toEqual(["to"]);
    });

    it("carry what only real file systems have: links, pipes, odd bytes, times to the nanosecond", async (context) => {
      const subject = get();
      subject.needsWall(context);
      const { guest, dir } = await place();
      const make = [
        `mkdir -p from/a/b && cd from && printf x > "$(printf 'not \\377 utf-8')" && printf y > a/one && ln a/one a/b/two && ln a/one zz`,
        "mkfifo -m 640 pipe && touch -d '2001-02-03 04:05:06.123456789' a/one && touch -d '1960-01-01 00:00:00' old && chmod 4751 a/one && chmod 2775 a && touch -h -d '2002-02-02' . a/b",
      ].join(" && ");
      await subject.text(guest, { command: make, cwd: dir });
      await guest.writeTree(`${dir}/to`, bytesOf(await taken(guest, `${dir}/from`)));
      const list =
        "find . -mindepth 1 -exec stat -c '%A %h %Y %y %F %n' {} + | sed 's/ directory / folder /' | LC_ALL=C sort -k 9; find . -type f -exec sha256sum {} + | LC_ALL=C sort";
      const listed = await subject.text(guest, { command: list, cwd: `${dir}/from` });
      expect(listed.split("\n").length).toBeGreaterThan(12);
      expect(await subject.text(guest, { command: list, cwd: `${dir}/to` })).toBe(listed);
      expect((await subject.text(guest, { command: "stat -c %i a/one a/b/two zz | uniq | wc -l", cwd: `${dir}/to` })).trim()).toBe("1");
    });

    it("are understood by tar, and the other way round", async (context) => {
      const subject = get();
      subject.needsWall(context);
      const { guest, dir } = await place();
      await subject.text(guest, {
        command: "mkdir -p from/sub && echo one > from/one && echo two > from/sub/two && ln -s one from/l",
        cwd: dir,
      });
      await guest.writeFile(`${dir}/ours.tar`, bytesOf(await taken(guest, `${dir}/from`)));
      const compare = "mkdir ours && tar -xpf ours.tar -C ours && diff -r from ours && tar --format=pax -cf theirs.tar -C from .";
      await subject.text(guest, { command: compare, cwd: dir });
      const { content } = await guest.readFile(`${dir}/theirs.tar`);
      await guest.writeTree(`${dir}/theirs`, content);
      expect(await shape(guest, `${dir}/theirs`)).toEqual(await shape(guest, `${dir}/from`));
    });

    it("hold one file, and leave out what a pattern names", async () => {
      const { guest, dir } = await place();
      for (const name of ["keep", "a/drop.tmp", "a/b/keep", "node_modules/x", "a/node_modules/y"])
        await guest.writeFile(`${dir}/from/${name}`, bytesOf(name));
      await guest.writeTree(`${dir}/to`, bytesOf(await taken(guest, `${dir}/from`, ["**/node_modules", "**/*.tmp"])));
      expect(Object.keys(await shape(guest, `${dir}/to`))).toEqual(["a", "a/b", "a/b/keep", "keep"]);
      const { entry } = await guest.readTree(`${dir}/from/keep`);
      expect(entry).toMatchObject({ name: "keep", type: "file", size: 4 });
      await guest.writeTree(`${dir}/one`, bytesOf(await taken(guest, `${dir}/from/keep`)));
      expect(await readText(guest, `${dir}/one/keep`)).toBe("keep");
      expect(await codeOf(guest.readTree(`${dir}/none`))).toBe("file_not_found");
      expect(await codeOf(guest.readTree(dir, { exclude: ["../x"] }))).toBe("invalid_argument");
    });

    it("go into a folder that is there, file by file", async () => {
      const { guest, dir } = await place();
      await guest.writeFile(`${dir}/to/kept`, bytesOf("kept"));
      await guest.writeFile(`${dir}/to/replaced`, bytesOf("old"), { mode: 0o600 });
      await get().text(guest, { command: "ln -s kept link", cwd: `${dir}/to` });
      const archive = await tar(
        { name: "replaced", text: "new", mode: 0o644 },
        { name: "sub/added", text: "added" },
        { name: "link", text: "own" },
      );
      expect(await guest.writeTree(`${dir}/to`, bytesOf(archive))).toEqual({ entries: 3, bytes: 11 });
      const texts = await Promise.all(["kept", "replaced", "sub/added", "link"].map((name) => readText(guest, `${dir}/to/${name}`)));
      expect(texts).toEqual(["kept", "new", "added", "own"]);
      expect((await guest.stat(`${dir}/to/replaced`)).mode).toBe(0o644);
      expect((await guest.stat(`${dir}/to/link`)).type).toBe("file");
      expect(await codeOf(guest.writeTree(`${dir}/to/kept`, bytesOf(archive)))).toBe("not_a_directory");
      await guest.writeTree(`${dir}/private`, bytesOf(archive), { mode: 0o700 });
      expect((await guest.stat(`${dir}/private`)).mode).toBe(0o700);
    });

    it("that are hostile are refused, and nothing is written outside", async () => {
      const { guest, dir } = await place();
      await guest.writeFile(`${dir}/outside/file`, bytesOf("untouched"));
      const before = await shape(guest, `${dir}/outside`);
      const up = { name: "l", type: "symlink", linkname: "../outside" } as const;
      const hostile: Member[][] = [
        [{ name: "../outside/file", text: "evil" }],
        [{ name: "a/../../outside/file", text: "evil" }],
        [{ name: `${dir}/outside/file`, text: "evil" }],
        [{ name: "../outside/new", type: "directory" }],
        [up, { name: "l/file", text: "evil" }],
        [
          { ...up, linkname: `${dir}/outside` },
          { name: "l/file", text: "evil" },
        ],
        [up, { name: "l/new", type: "directory" }],
        [up, { name: "l", type: "directory" }, { name: "l/file", text: "evil" }],
        [up, { name: "l/link", type: "symlink", linkname: "x" }],
        [{ name: "h", type: "link", linkname: "/etc/passwd" }],
        [{ name: "h", type: "link", linkname: "../outside/file" }],
        [up, { name: "h", type: "link", linkname: "l/file" }],
        [{ name: "null", type: "character-device", devmajor: 1, devminor: 3 }],
      ];
      await guest.makeDir(`${dir}/used`);
      for (const members of hostile) {
        const archive = await tar(...members);
        for (const target of ["new", "used"]) {
          const code = await codeOf(guest.writeTree(`${dir}/${target}`, bytesOf(archive)));
          if (!["invalid_argument", "not_a_directory"].includes(code))
            expect.unreachable(`${JSON.stringify(members)} into a ${target} folder: ${code}`);
        }
        expect(await shape(guest, `${dir}/outside`)).toEqual(before);
        await guest.remove(`${dir}/used`, { recursive: true });
        await guest.makeDir(`${dir}/used`);
      }
      await expect.poll(async () => (await collect(guest.listDir(dir))).map((entry) => entry.name).sort()).toEqual(["outside", "used"]);
      expect(await codeOf(guest.readFile("/tmp/evil"))).toBe("file_not_found");
    });

    it("that are broken leave nothing", async () => {
      const { guest, dir } = await place();
      const good = await tar({ name: "dir/file", text: "x".repeat(5000) }, { name: "z", text: "z" });
      const damaged = Buffer.from(good);
      damaged[3] = (damaged[3] ?? 0) ^ 1;
      const huge = Buffer.from(good);
      huge.write("77777777777\0", 124);
      const broken: [string, Buffer][] = [
        ["empty", Buffer.alloc(0)],
        ["cut in a header", good.subarray(0, 100)],
        ["cut in a file", good.subarray(0, 2000)],
        ["cut before its end", good.subarray(0, -END_BYTES)],
        ["noise", Buffer.from(Array.from({ length: 50_000 }, (_, i) => (i * i * 31) & 255))],
        ["damaged", damaged],
        ["huge by its header", sealed(huge)],
      ];
      for (const [name, bytes] of broken)
        expect([name, await codeOf(guest.writeTree(`${dir}/new`, bytesOf(bytes)))]).toEqual([name, "invalid_argument"]);
      async function* failing(): AsyncGenerator<Uint8Array> {
        yield good.subarray(0, 3000);
        throw new Error("the source broke");
      }
      await expect(guest.writeTree(`${dir}/new`, failing())).rejects.toThrow("the source broke");
      await expect.poll(() => collect(guest.listDir(dir))).toEqual([]);
    });

    it("cannot be led elsewhere by a program that swaps folders for links meanwhile", async (context) => {
      const subject = get();
      subject.needsWall(context);
      const { guest, dir } = await place();
      await subject.text(guest, { command: "mkdir -p outside to/d", cwd: dir });
      const swapping = await guest.exec({
        command: "while :; do mv to/d to/real && ln -s ../outside to/d; rm -f to/d; mv to/real to/d; done 2>/dev/null",
        cwd: dir,
        killOnDisconnect: true,
      });
      const archive = await tar(...Array.from({ length: 200 }, (_, i) => ({ name: `d/f${i}`, text: "x" })));
      const seen = new Set<string>();
      for (let i = 0; i < 20; i++) seen.add(await codeOf(guest.writeTree(`${dir}/to`, bytesOf(archive))));
      await guest.kill(swapping.id, { signal: "KILL" });
      expect([...seen].filter((code) => !["no error", "not_a_directory", "file_not_found"].includes(code))).toEqual([]);
      expect(await collect(guest.listDir(`${dir}/outside`))).toEqual([]);
    });

    it("obey the rights of the user who acts, and keep owners for root alone", async (context) => {
      const subject = get();
      subject.needs(context, "users");
      const { guest, dir } = await place();
      const archive = await tar({ name: "file", text: "x", uid: 1234, gid: 1235 });
      expect(await codeOf(guest.writeTree("/etc/forbidden", bytesOf(archive)))).toBe("permission_denied");
      expect(await codeOf(guest.writeTree(`${dir}/x`, bytesOf(archive), { keepOwners: true }))).toBe("permission_denied");
      await guest.writeTree(`${dir}/mine`, bytesOf(archive));
      expect(await guest.stat(`${dir}/mine/file`)).toMatchObject({ uid: 1000 });
      await guest.writeTree(`${dir}/kept`, bytesOf(archive), { keepOwners: true, user: "root" });
      expect(await guest.stat(`${dir}/kept/file`)).toMatchObject({ uid: 1234, gid: 1235 });
      await guest.writeFile(`${dir}/secret/file`, bytesOf("x"), { mode: 0o600 });
      await guest.chown(`${dir}/secret/file`, "root:root");
      expect(await codeOf(taken(guest, `${dir}/secret`))).toBe("permission_denied");
    });

    it("carry attributes of files where the file system has them", async (context) => {
      const { guest, dir } = await place();
      await guest.writeFile(`${dir}/from/file`, bytesOf("x"));
      const refused = await codeOf(guest.setXattr(`${dir}/from/file`, "user.note", Buffer.from("a=b\n")));
      context.skip(refused === "unsupported", "no extended attributes here");
      expect(refused).toBe("no error");
      await guest.writeTree(`${dir}/to`, bytesOf(await taken(guest, `${dir}/from`)));
      const [only] = await guest.getXattrs(`${dir}/to/file`);
      expect([only?.[0], Buffer.from(only?.[1] ?? []).toString()]).toEqual(["user.note", "a=b\n"]);
    });

    it("of very many small files pass", async () => {
      const { guest, dir } = await place();
      const members = Array.from({ length: 2000 }, (_, i) => ({ name: `d${Math.floor(i / 100)}/f${i}`, text: "x".repeat(64) }));
      expect(await guest.writeTree(`${dir}/many`, bytesOf(await tar(...members)))).toEqual({ entries: 2000, bytes: 128_000 });
      const again = await guest.writeTree(`${dir}/again`, (await guest.readTree(`${dir}/many`)).content);
      expect(again).toEqual({ entries: 2020, bytes: 128_000 });
      await guest.remove(`${dir}/many`, { recursive: true });
      await guest.remove(`${dir}/again`, { recursive: true });
    });
  });
}

/** What lies in a folder, hidden temporary files too. */
async function namesOf(guest: GuestClient, dir: string): Promise<string[]> {
  return (await collect(guest.listDir(dir))).map((entry) => entry.name);
}

/** What a tree is, by relative path: all but owners. */
async function shape(guest: GuestClient, root: string): Promise<Record<string, string>> {
  const entries = await collect(guest.listDir(root, { depth: 100 }));
  const line = async (entry: FileEntry): Promise<string> => {
    const content = entry.type === "file" ? (await guest.digest(entry.path)).sha256 : (entry.target ?? "");
    return `${entry.type} ${entry.mode.toString(8)} ${entry.type === "directory" ? "" : entry.mtimeMs} ${content}`;
  };
  const lines: [string, string][] = [];
  for (const entry of entries) lines.push([entry.path.slice(root.length + 1), await line(entry)]);
  return Object.fromEntries(lines.sort(([a], [b]) => (a < b ? -1 : 1)));
}

async function tar(...members: Member[]): Promise<Buffer> {
  const stream = pack();
  for (const { text, ...header } of members) stream.entry(header, text ?? "");
  stream.finalize();
  const pieces: Uint8Array[] = [];
  for await (const bytes of stream) pieces.push(bytes as Uint8Array);
  return Buffer.concat(pieces);
}

/** Gives the first header of an archive the checksum that fits it. */
function sealed(archive: Buffer): Buffer {
  archive.fill(" ", 148, 156);
  const sum = archive.subarray(0, 512).reduce((total, byte) => total + byte, 0);
  archive.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return archive;
}
