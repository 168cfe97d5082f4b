import { describe, expect, it } from "vitest";
import { bytesOf, codeOf, collect, readText, type Subject } from "./subject.ts";

let folders = 0;

/** Every file method. */
export function fileCases(get: () => Subject): void {
  describe("files", () => {
    const place = async (): Promise<{ guest: Awaited<ReturnType<Subject["shared"]>>["guest"]; dir: string }> => {
      const { guest } = await get().shared();
      const dir = `/tmp/files-${++folders}`;
      await guest.makeDir(dir);
      return { guest, dir };
    };

    it("are written, read and described", async () => {
      const { guest, dir } = await place();
      const path = `${dir}/deep/er/file.txt`;
      const written = await guest.writeFile(path, bytesOf("con", "", "tent"), { mode: 0o640 });
      expect(written).toMatchObject({ path, name: "file.txt", type: "file", size: 7, mode: 0o640, target: null });
      expect(await readText(guest, path)).toBe("content");
      expect(await guest.stat(path)).toMatchObject({ path, size: 7, mode: 0o640, uid: written.uid });
      expect(Math.abs((await guest.stat(path)).mtimeMs - get().harness.clock.now())).toBeLessThan(60_000);
      await guest.writeFile(path, bytesOf("new"));
      expect([await readText(guest, path), (await guest.stat(path)).mode]).toEqual(["new", 0o640]);
      await guest.writeFile(`${dir}/empty`, bytesOf());
      expect((await guest.stat(`${dir}/empty`)).size).toBe(0);
    });

    it("are read and written in parts", async () => {
      const { guest, dir } = await place();
      const path = `${dir}/parts`;
      await guest.writeFile(path, bytesOf("0123456789"));
      const part = async (offset: number, length?: number): Promise<string> => {
        const { content } = await guest.readFile(path, length === undefined ? { offset } : { offset, length });
        return Buffer.concat(await collect(content)).toString();
      };
      expect([await part(3), await part(3, 4), await part(8, 99), await part(99), await part(2, 0)]).toEqual([
        "3456789",
        "3456",
        "89",
        "",
        "",
      ]);
      await guest.writeFile(path, bytesOf("AB"), { offset: 4 });
      await guest.writeFile(path, bytesOf("!"), { append: true });
      expect(await readText(guest, path)).toBe("0123AB6789!");
    });

    it("carry 20 MB both ways byte-exact", async () => {
      const { guest, dir } = await place();
      const block = Buffer.from(Array.from({ length: 100_000 }, (_, i) => (i * 7) & 255));
      await guest.writeFile(`${dir}/big`, bytesOf(...Array.from({ length: 200 }, () => block)));
      const { content, entry } = await guest.readFile(`${dir}/big`);
      expect(entry.size).toBe(20_000_000);
      expect(Buffer.concat(await collect(content)).equals(Buffer.concat(Array.from({ length: 200 }, () => block)))).toBe(true);
    });

    it("keep their old content until a write is whole", async () => {
      const { guest, dir } = await place();
      const path = `${dir}/atomic`;
      await guest.writeFile(path, bytesOf("old"));
      async function* failing(): AsyncGenerator<Uint8Array> {
        yield Buffer.from("half");
        expect(await readText(guest, path)).toBe("old");
        throw new Error("the source broke");
      }
      await expect(guest.writeFile(path, failing())).rejects.toThrow("the source broke");
      await expect(guest.writeFile(`${dir}/never`, failing())).rejects.toThrow("the source broke");
      await expect.poll(async () => (await collect(guest.listDir(dir))).map((entry) => entry.name)).toEqual(["atomic"]);
      expect(await readText(guest, path)).toBe("old");
    });

    it("name what is wrong", async () => {
      const { guest, dir } = await place();
      await guest.writeFile(`${dir}/f`, bytesOf("x"));
      expect(await codeOf(guest.stat(`${dir}/none`))).toBe("file_not_found");
      expect(await codeOf(guest.readFile(`${dir}/none`))).toBe("file_not_found");
      expect(await codeOf(guest.readFile(dir))).toBe("is_a_directory");
      expect(await codeOf(guest.writeFile(dir, bytesOf("x")))).toBe("is_a_directory");
      expect(await codeOf(guest.stat(`${dir}/f/below`))).toBe("not_a_directory");
      expect(await codeOf(collect(guest.listDir(`${dir}/f`)))).toBe("not_a_directory");
      expect(await codeOf(guest.writeFile(`${dir}/no/parent`, bytesOf("x"), { createParents: false }))).toBe("file_not_found");
      expect(await codeOf(guest.stat("relative"))).toBe("invalid_argument");
      expect(await codeOf(guest.stat(`/tmp/${"n".repeat(256)}`))).toBe("invalid_argument");
      expect(await codeOf(guest.stat(`/${"p/".repeat(2500)}`))).toBe("invalid_argument");
      expect(await codeOf(guest.stat("/tmp/nul\0byte"))).toBe("invalid_argument");
    });

    it("may have any name", async () => {
      const { guest, dir } = await place();
      for (const name of ["with space", "ünï 漢字 🙂", "-rf", "a'b\"c", "new\nline", "*", "n".repeat(255)]) {
        await guest.writeFile(`${dir}/${name}`, bytesOf(name));
        expect([await readText(guest, `${dir}/${name}`), (await guest.stat(`${dir}/${name}`)).name]).toEqual([name, name]);
      }
      expect(await collect(guest.listDir(dir))).toHaveLength(7);
    });

    it("resolve links and `..` inside the box", async () => {
      const { guest, dir } = await place();
      const subject = get();
      await guest.writeFile(`${dir}/real/file`, bytesOf("inside"));
      await subject.text(
        guest,
        `ln -s real/file ${dir}/link && ln -s real ${dir}/dirlink && ln -s /nowhere ${dir}/dangling && ln -s loop ${dir}/loop && ln -s /etc/passwd ${dir}/out`,
      );
      expect(await guest.stat(`${dir}/link`)).toMatchObject({ type: "symlink", target: "real/file" });
      expect(await guest.stat(`${dir}/link`, { follow: true })).toMatchObject({ type: "file", size: 6 });
      expect(await readText(guest, `${dir}/dirlink/file`)).toBe("inside");
      expect(await readText(guest, `${dir}/real/../real/./file`)).toBe("inside");
      expect(await guest.stat(`${dir}/dangling`)).toMatchObject({ type: "symlink" });
      expect(await codeOf(guest.stat(`${dir}/dangling`, { follow: true }))).toBe("file_not_found");
      expect(await codeOf(guest.stat(`${dir}/loop`, { follow: true }))).toBe("invalid_argument");
      expect(await readText(guest, `${dir}/out`)).toBe(await readText(guest, "/etc/passwd"));
      expect(await readText(guest, "/../../../../../etc/passwd")).toBe(await readText(guest, "/etc/passwd"));
      await guest.writeFile(`${dir}/link`, bytesOf("through"));
      expect([await readText(guest, `${dir}/real/file`), (await guest.stat(`${dir}/link`)).type]).toEqual(["through", "symlink"]);
      await guest.remove(`${dir}/link`);
      expect(await readText(guest, `${dir}/real/file`)).toBe("through");
    });

    it("are listed to a depth", async () => {
      const { guest, dir } = await place();
      for (const path of ["a", "b/c", "b/d/e", ".hidden"]) await guest.writeFile(`${dir}/${path}`, bytesOf(path));
      const names = async (depth?: number): Promise<string[]> => {
        const entries = await collect(guest.listDir(dir, depth === undefined ? {} : { depth }));
        return entries.map((entry) => entry.path.slice(dir.length + 1)).sort();
      };
      expect(await names()).toEqual([".hidden", "a", "b"]);
      expect(await names(2)).toEqual([".hidden", "a", "b", "b/c", "b/d"]);
      expect(await names(9)).toEqual([".hidden", "a", "b", "b/c", "b/d", "b/d/e"]);
      expect(await codeOf(collect(guest.listDir(dir, { depth: 0 })))).toBe("invalid_argument");
    });

    it("are listed in hundreds", async () => {
      const { guest, dir } = await place();
      for (let i = 0; i < 600; i += 100) await Promise.all(Array.from({ length: 100 }, (_, j) => guest.makeDir(`${dir}/many/${i + j}`)));
      const entries = await collect(guest.listDir(`${dir}/many`));
      expect(new Set(entries.map((entry) => entry.name)).size).toBe(600);
    });

    it("are found by pattern", async () => {
      const { guest, dir } = await place();
      for (const path of ["x.ts", "y.js", "s/z.ts", "s/t/w.ts", ".h.ts"]) await guest.writeFile(`${dir}/${path}`, bytesOf(""));
      const find = async (pattern: string, limit?: number): Promise<{ paths: string[]; truncated: boolean }> => {
        const glob = guest.glob(pattern, limit === undefined ? { cwd: dir } : { cwd: dir, limit });
        const paths: string[] = [];
        for (;;) {
          const next = await glob.next();
          if (next.done === true) return { paths: paths.sort(), truncated: next.value.truncated };
          paths.push(next.value.path.slice(dir.length + 1));
        }
      };
      expect(await find("*.ts")).toEqual({ paths: ["x.ts"], truncated: false });
      expect(await find("**/*.ts")).toEqual({ paths: ["s/t/w.ts", "s/z.ts", "x.ts"], truncated: false });
      expect(await find("[xy].?s")).toEqual({ paths: ["x.ts", "y.js"], truncated: false });
      expect((await find("**/*.ts", 2)).truncated).toBe(true);
      expect(await find("none*")).toEqual({ paths: [], truncated: false });
    });

    it("are made, moved and removed", async () => {
      const { guest, dir } = await place();
      expect(await guest.makeDir(`${dir}/a/b/c`, { mode: 0o700 })).toBe(true);
      expect(await guest.makeDir(`${dir}/a/b/c`)).toBe(false);
      expect((await guest.stat(`${dir}/a/b/c`)).mode).toBe(0o700);
      expect(await codeOf(guest.makeDir(`${dir}/a`, { parents: false }))).toBe("already_exists");
      expect(await codeOf(guest.makeDir(`${dir}/x/y`, { parents: false }))).toBe("file_not_found");
      await guest.writeFile(`${dir}/one`, bytesOf("one"));
      await guest.writeFile(`${dir}/two`, bytesOf("two"));
      expect(await codeOf(guest.move(`${dir}/one`, `${dir}/two`, { overwrite: false }))).toBe("already_exists");
      await guest.move(`${dir}/one`, `${dir}/two`);
      expect([await readText(guest, `${dir}/two`), await codeOf(guest.stat(`${dir}/one`))]).toEqual(["one", "file_not_found"]);
      await guest.move(`${dir}/a`, `${dir}/moved`);
      expect((await guest.stat(`${dir}/moved/b/c`)).type).toBe("directory");
      expect(await codeOf(guest.remove(`${dir}/moved`))).toBe("not_empty");
      await guest.remove(`${dir}/moved`, { recursive: true });
      await guest.remove(`${dir}/two`);
      expect(await codeOf(guest.remove(`${dir}/two`))).toBe("file_not_found");
      expect(await collect(guest.listDir(dir))).toEqual([]);
    });

    it("have modes, set one by one or for a whole tree", async () => {
      const { guest, dir } = await place();
      await guest.writeFile(`${dir}/t/f`, bytesOf(""));
      await guest.chmod(`${dir}/t/f`, 0o600);
      expect((await guest.stat(`${dir}/t/f`)).mode).toBe(0o600);
      await guest.chmod(`${dir}/t`, 0o755, { recursive: true });
      expect([(await guest.stat(`${dir}/t`)).mode, (await guest.stat(`${dir}/t/f`)).mode]).toEqual([0o755, 0o755]);
    });

    it("obey the rights of the user who acts", async (context) => {
      const subject = get();
      subject.needs(context, "users");
      const { guest, dir } = await place();
      await guest.writeFile(`${dir}/secret`, bytesOf("root's"), { mode: 0o600 });
      await guest.chown(`${dir}/secret`, "root:root");
      expect(await guest.stat(`${dir}/secret`)).toMatchObject({ uid: 0, gid: 0, user: "root" });
      expect(await codeOf(guest.readFile(`${dir}/secret`))).toBe("permission_denied");
      expect(await readText(guest, `${dir}/secret`, "root")).toBe("root's");
      expect(await codeOf(guest.writeFile("/etc/forbidden", bytesOf("x")))).toBe("permission_denied");
      expect(await codeOf(guest.chmod(`${dir}/secret`, 0o777))).toBe("permission_denied");
      await guest.writeFile(`${dir}/roots`, bytesOf("x"), { user: "root" });
      expect((await guest.stat(`${dir}/roots`)).uid).toBe(0);
      expect((await guest.writeFile(`${dir}/mine`, bytesOf("x"))).uid).toBe(1000);
      await guest.chown(dir, "user", { recursive: true });
      expect(await guest.stat(`${dir}/roots`)).toMatchObject({ uid: 1000, user: "user" });
      expect(await codeOf(guest.stat("/tmp", { user: "nobody-of-this-name" }))).toBe("no_such_user");
    });

    it("reach processes and the other way round", async () => {
      const { guest, dir } = await place();
      await guest.writeFile(`${dir}/script.sh`, bytesOf("#!/bin/sh\necho made by $1 > out\n"), { mode: 0o755 });
      await get().text(guest, { argv: ["./script.sh", "script"], cwd: dir });
      expect(await readText(guest, `${dir}/out`)).toBe("made by script\n");
    });

    it("carry connections to ports inside the box, or say that nothing answers", async () => {
      const { guest } = await get().shared();
      expect(await codeOf(guest.dial({ network: "tcp", port: 9 }))).toBe("connection_refused");
      expect(await codeOf(guest.dial({ network: "tcp", port: 0 }))).toBe("invalid_argument");
    });
  });
}
