import { execFile, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { chmod, lstat, mkdir, mkdtemp, readdir, readFile, readlink, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Sandbox } from "@caisson/sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { treeHash } from "../harness/tree-hash.ts";
import type { ApiAccess } from "../harness/api-access.ts";
import type { SandboxTarget } from "./sandbox-target.ts";

const CLI = new URL("../../packages/cli/bin/caisson.mjs", import.meta.url).pathname;
const LONG = process.env.LONG_TESTS !== undefined;

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** `caisson cp` and `caisson files`. */
export function fileCommands(target: () => SandboxTarget): void {
  describe("caisson cp and caisson files", () => {
    let api: ApiAccess;
    let sandbox: Sandbox;
    let id: string;
    let folder: string;
    beforeAll(async () => {
      ({ api } = target());
      sandbox = await target().create();
      id = sandbox.id;
      folder = await mkdtemp(join(tmpdir(), "caisson-cp-"));
    });
    afterAll(async () => {
      await sandbox.destroy();
      await rm(folder, { recursive: true, force: true });
    });

    const caisson = (...args: string[]): Promise<Ended> =>
      new Promise((resolve) => {
        const child = execFile(process.execPath, [CLI, ...args], { env: api.cliEnv, maxBuffer: 1 << 26 }, (error, stdout, stderr) =>
          resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
        );
        child.stdin?.end();
      });
    const sh = async (line: string): Promise<string> => (await sandbox.commands.run(line, { check: true, user: "root" })).stdout;
    const here = (path: string): string => join(folder, path);

    it("copy a file in and out, with its mode and its digest", async () => {
      const bytes = randomBytes(20_000_000);
      await writeFile(here("large.bin"), bytes);
      await chmod(here("large.bin"), 0o750);
      const up = await caisson("cp", "--json", here("large.bin"), `${id}:/home/user/`);
      expect(JSON.parse(up.stdout)).toEqual({
        path: "/home/user/large.bin",
        entries: 1,
        bytes: bytes.length,
        sha256: createHash("sha256").update(bytes).digest("hex"),
      });
      expect(up.stderr).toBe("");
      expect(await sh("stat -c %a /home/user/large.bin")).toBe("750\n");
      await mkdir(here("down"));
      expect(await caisson("cp", `${id}:/home/user/large.bin`, here("down"))).toMatchObject({ code: 0, stdout: "", stderr: "" });
      expect((await readFile(here("down/large.bin"))).equals(bytes)).toBe(true);
      expect((await lstat(here("down/large.bin"))).mode & 0o777).toBe(0o750);
      expect(await readdir(here("down"))).toEqual(["large.bin"]);
    });

    it("copy folders as cp -r does", async () => {
      await mkdir(here("src/sub"), { recursive: true });
      await writeFile(here("src/a"), "a");
      await writeFile(here("src/sub/b"), "b");
      await symlink("sub/b", here("src/link"));
      await caisson("cp", here("src"), `${id}:/home/user/new`); // is not there: becomes it
      await caisson("cp", here("src"), `${id}:/home/user/new`); // is there: goes into it
      await caisson("cp", `${here("src")}/.`, `${id}:/home/user/flat`); // its content
      await caisson("cp", `${here("src")}/.`, `${id}:/home/user/flat`);
      expect(await sh("cd /home/user; find new flat | sort")).toBe(
        `${["flat", "flat/a", "flat/link", "flat/sub", "flat/sub/b", "new", "new/a", "new/link", "new/src", "new/src/a", "new/src/link", "new/src/sub", "new/src/sub/b", "new/sub", "new/sub/b"].join("\n")}\n`,
      );
      for (const [from, to] of [
        ["/home/user/flat", "out"], // becomes it
        ["/home/user/flat", "out"], // goes into it
        ["/home/user/flat/.", "content"],
        ["/home/user/flat/.", "content"],
      ] as const)
        expect(await caisson("cp", `${id}:${from}`, here(to))).toMatchObject({ code: 0, stderr: "" });
      expect((await readdir(here("out"))).toSorted()).toEqual(["a", "flat", "link", "sub"]);
      expect((await readdir(here("content"))).toSorted()).toEqual(["a", "link", "sub"]);
      expect(await readlink(here("out/flat/link"))).toBe("sub/b");
    });

    it(`copy ${LONG ? 10_000 : 1_000} files of 4 KiB in and out unchanged`, { timeout: 300_000 }, async () => {
      const count = LONG ? 10_000 : 1_000;
      for (let i = 0; i < count; i += 1) {
        const part = here(`many/${Math.floor(i / 100)}`);
        if (i % 100 === 0) await mkdir(part, { recursive: true });
        await writeFile(join(part, `${i}`), randomBytes(4096));
      }
      const up = await caisson("cp", "--json", here("many"), `${id}:/home/user/many`);
      expect(JSON.parse(up.stdout)).toMatchObject({ bytes: count * 4096 });
      const down = await caisson("cp", "--json", `${id}:/home/user/many`, here("back"));
      expect(JSON.parse(down.stdout)).toMatchObject({ bytes: count * 4096, left: [] });
      expect(await treeHash(here("back"))).toBe(await treeHash(here("many")));
    });

    it("let nothing hostile out", async () => {
      await sh(
        "mkdir -p /srv/evil/d; cd /srv/evil; ln -s /etc/passwd abs; ln -s ../../../../../../etc/passwd up; ln -s d good; mkfifo pipe; echo x > suid; chmod 4777 suid",
      );
      const { code, stderr } = await caisson("cp", `${id}:/srv/evil`, here("evil"));
      expect(code).toBe(0);
      expect(stderr.split("\n").filter((line) => line.includes("left out"))).toHaveLength(3);
      expect((await readdir(here("evil"))).toSorted()).toEqual(["d", "good", "suid"]);
      expect((await lstat(here("evil/suid"))).mode & 0o7000).toBe(0);
      // A link that is there already is not gone through.
      await mkdir(here("trap"));
      await mkdir(here("elsewhere"));
      await symlink(here("elsewhere"), here("trap/d"));
      await sh("echo evil > /srv/evil/d/file");
      expect((await caisson("cp", `${id}:/srv/evil/.`, here("trap"))).code).not.toBe(0);
      expect(await readdir(here("elsewhere"))).toEqual([]);
    });

    it("say what is wrong, and leave nothing half done", async () => {
      const cases: [string[], RegExp][] = [
        [["cp", here("missing"), `${id}:/tmp/x`], /missing cannot be read: ENOENT/],
        [["cp", `${id}:/tmp/missing`, folder], /missing/],
        [["cp", `${id}:/etc/hostname`, here("no/such/folder/x")], /cannot be written: ENOENT/],
        [["cp", "a", "b"], /Exactly one of the two must be in a sandbox/],
        [["cp", "--mode", "0600", `${id}:/etc/hostname`, folder], /--mode is for files in a sandbox/],
        [["cp", "--mode", "0600", folder, `${id}:/tmp/x`], /--mode is for one file/],
        [["files", "ls", "/tmp"], /no place in a sandbox/],
      ];
      for (const [args, words] of cases) {
        const { code, stderr } = await caisson(...args);
        expect(code).toBeGreaterThan(0);
        expect(stderr).toMatch(words);
      }
      expect((await readdir(folder)).filter((name) => name.startsWith(".caisson"))).toEqual([]);
    });

    it("list, find, search, move, sign and remove", async () => {
      await sandbox.files.writeMany({ "/home/user/g/one.py": "import os\nprint(1)\n", "/home/user/g/two.txt": "import\n" });
      expect((await caisson("files", "ls", `${id}:/home/user/g`)).stdout).toMatch(
        /^-0644 user +19 \S+Z one\.py\n-0644 user +7 \S+Z two\.txt\n$/,
      );
      expect((await caisson("files", "find", `${id}:/home/user/g`, "**/*.py")).stdout).toBe("/home/user/g/one.py\n");
      const found = await caisson("files", "grep", "^import (o.)$", `${id}:/home/user/g`);
      expect(found).toMatchObject({ code: 0, stdout: "/home/user/g/one.py:1:import os\n" });
      expect((await caisson("files", "grep", "-F", "nothing(", `${id}:/home/user/g`)).code).toBe(1);
      const url = (await caisson("files", "sign", `${id}:/home/user/g/two.txt`)).stdout.trim();
      expect(await (await fetch(url)).text()).toBe("import\n");
      await caisson("files", "mv", `${id}:/home/user/g/two.txt`, "/home/user/g/three.txt");
      expect((await caisson("files", "rm", `${id}:/home/user/g/one.py`)).code).toBe(0);
      expect(await sh("ls /home/user/g")).toBe("three.txt\n");
    });

    it("stop at Ctrl-C, and leave nothing half done on either side", async () => {
      const child = spawn(process.execPath, [CLI, "cp", "-", `${id}:/home/user/stdin`], {
        env: api.cliEnv,
        stdio: ["pipe", "ignore", "pipe"],
      });
      // It ends before it has read all.
      child.stdin.on("error", () => undefined);
      child.stdin.write(Buffer.alloc(9_000_000));
      const uploads = async (): Promise<unknown[]> => (await api.json<{ items: unknown[] }>("GET", `/sandboxes/${id}/uploads`)).items;
      await expect.poll(uploads).toMatchObject([{ path: "/home/user/stdin" }]);
      const gone = once(child, "close");
      child.kill("SIGINT");
      expect(await gone).toEqual([130, null]);
      expect(await uploads()).toEqual([]);

      await sh("mkdir -p /srv/slow && mkfifo /srv/slow/pipe && truncate -s 4G /srv/slow/big");
      const out = spawn(process.execPath, [CLI, "cp", `${id}:/srv/slow`, here("slow")], { env: api.cliEnv, stdio: "ignore" });
      const partial = async (): Promise<string[]> => (await readdir(folder)).filter((name) => name.startsWith(".caisson-copy"));
      await expect.poll(partial, { interval: 5 }).toHaveLength(1);
      const ended = once(out, "close");
      out.kill("SIGINT");
      expect(await ended).toEqual([130, null]);
      expect(await partial()).toEqual([]);
      expect(await readdir(folder)).not.toContain("slow");
    });

    it("watch until Ctrl-C", async () => {
      await sandbox.files.mkdir("/home/user/w");
      const child = spawn(process.execPath, [CLI, "files", "watch", `${id}:/home/user/w`], {
        env: api.cliEnv,
        stdio: ["ignore", "pipe", "pipe"],
      });
      let said = "";
      child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()));
      child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
      await expect.poll(() => said).toContain("watching /home/user/w");
      await sandbox.files.write("/home/user/w/new\u001b[31m.txt", "x");
      await expect.poll(() => said).toContain("new?[31m.txt");
      const gone = once(child, "close");
      child.kill("SIGINT");
      expect(await gone).toEqual([130, null]);
    });
  });
}
