import { createHash, randomBytes } from "node:crypto";
import type { Sandbox, SearchMatch, WatchItem } from "@caisson/sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { SandboxTarget } from "./sandbox-target.ts";

const MIB = 1_048_576;
const LARGE = 24;

/** Bytes that depend on their place, a MiB at a time, and their digest once all were taken. */
function generate(blocks: number): { readonly content: AsyncIterable<Uint8Array>; readonly sha256: () => string } {
  const hash = createHash("sha256");
  const content = (async function* () {
    for (let n = 0; n < blocks; n += 1) {
      const block = Buffer.alloc(MIB, `${n} `);
      hash.update(block);
      yield block;
    }
  })();
  return { content, sha256: () => hash.digest("hex") };
}

/** Files: read and written, found, moved, watched, searched; trees and uploads. */
export function files(target: () => SandboxTarget): void {
  let sandbox: Sandbox;
  beforeAll(async () => {
    sandbox = await target().create();
    await sandbox.files.mkdir("/home/user/f");
  });
  afterAll(() => sandbox.destroy());
  const at = (name: string): string => `/home/user/f/${name}`;

  describe("files", () => {
    it("are written whole, read in parts, and guarded by their version", async () => {
      const bytes = randomBytes(300_000);
      const written = await sandbox.files.write(at("a/b.bin"), bytes, { mode: "0640" });
      expect(Buffer.from(await sandbox.files.read(at("a/b.bin"))).equals(bytes)).toBe(true);
      const part = await sandbox.files.read(at("a/b.bin"), { offset: 100_000, length: 17 });
      expect(Buffer.from(part).equals(bytes.subarray(100_000, 100_017))).toBe(true);
      expect(await sandbox.files.stat(at("a/b.bin"))).toMatchObject({ type: "file", size: 300_000, mode: "0640", user: "user" });
      expect((await sandbox.files.digest(at("a/b.bin"))).sha256).toBe(createHash("sha256").update(bytes).digest("hex"));
      await sandbox.files.write(at("a/b.bin"), "new", { ifVersion: written.version });
      await expect(sandbox.files.write(at("a/b.bin"), "late", { ifVersion: written.version })).rejects.toMatchObject({ status: 412 });
      await expect(sandbox.files.write(at("a/b.bin"), "again", { ifAbsent: true })).rejects.toMatchObject({ status: 412 });
      expect(await sandbox.files.readText(at("a/b.bin"))).toBe("new");
    });

    it("are listed, found, moved, changed and removed, with names of every kind", async () => {
      const names = ["plain", "with blank", "ümläut", "new\nline"];
      for (const name of names) await sandbox.files.write(at(`n/${name}`), name);
      expect((await sandbox.files.list(at("n"))).items.map((entry) => entry.name).toSorted()).toEqual(names.toSorted());
      expect((await sandbox.files.glob("**/*b*", { cwd: at("n") })).items.map((entry) => entry.path)).toEqual([at("n/with blank")]);
      await sandbox.files.move(at("n/plain"), at("n/moved"));
      await sandbox.files.chmod(at("n/moved"), "0700");
      expect(await sandbox.files.stat(at("n/moved"))).toMatchObject({ mode: "0700" });
      expect(await sandbox.files.exists(at("n/plain"))).toBe(false);
      await expect(sandbox.files.remove(at("n"))).rejects.toMatchObject({ status: 409 });
      await sandbox.files.remove(at("n"), { recursive: true });
      await expect(sandbox.files.read(at("n/moved"))).rejects.toMatchObject({ code: "file_not_found" });
    });

    it(`go up and down, ${LARGE} MiB, in one request and as a resumable upload`, async () => {
      for (const way of ["write", "upload"] as const) {
        const { content, sha256 } = generate(LARGE);
        const written = await sandbox.files[way](at(`${way}.bin`), content);
        expect(written).toMatchObject({ size: LARGE * MIB, sha256: sha256() });
        const hash = createHash("sha256");
        for await (const bytes of await sandbox.files.readStream(at(`${way}.bin`), { verify: true })) hash.update(bytes);
        expect(hash.digest("hex")).toBe(written.sha256);
        await sandbox.files.remove(at(`${way}.bin`));
      }
      const { items } = await target().api.json<{ items: unknown[] }>("GET", `/sandboxes/${sandbox.id}/uploads`);
      expect(items).toEqual([]);
    });

    it("travel as trees, links and modes too", async () => {
      const line = "mkdir -p t/deep && cd t && for i in $(seq 200); do echo $i > deep/$i; done && ln -s deep/1 link && chmod 750 deep";
      await sandbox.commands.run(line, { cwd: "/home/user/f", check: true });
      const { entries } = await sandbox.files.extract(at("copy"), await sandbox.files.archive(at("t")));
      expect(entries).toBeGreaterThanOrEqual(202);
      const same = "diff -r t copy && readlink copy/link && stat -c %a copy/deep";
      expect((await sandbox.commands.run(same, { cwd: "/home/user/f", check: true })).stdout).toBe("deep/1\n750\n");
    });

    it("are searched and replaced in", async () => {
      await sandbox.files.writeMany({ [at("s/one.py")]: "import os\nx = 1\n", [at("s/two.txt")]: "import sys\n" });
      const found: SearchMatch[] = [];
      for await (const match of sandbox.files.search(at("s"), "^import (\\w+)", { include: ["*.py"] })) found.push(match);
      expect(found).toMatchObject([{ path: at("s/one.py"), line: 1, text: "import os" }]);
      expect(await sandbox.files.replace(at("s"), "import (\\w+)", "use $1")).toMatchObject({ count: 2 });
      expect(await sandbox.files.readText(at("s/two.txt"))).toBe("use sys\n");
    });

    it("are watched: every change once and in order", async () => {
      await sandbox.files.mkdir(at("w"));
      const seen: WatchItem[] = [];
      for await (const item of sandbox.files.watch(at("w"))) {
        seen.push(item);
        if (item.type === "ready") await sandbox.commands.run("for i in $(seq 50); do : > $i; done; : > last", { cwd: at("w") });
        if (item.type === "change" && item.path === at("w/last") && item.kind === "created") break;
      }
      const made = seen.flatMap((item) => (item.type === "change" && item.kind === "created" ? [item.path] : []));
      expect(made).toEqual([...Array.from({ length: 50 }, (_, i) => at(`w/${i + 1}`)), at("w/last")]);
      expect(seen.filter((item) => item.type !== "change" && item.type !== "ready")).toEqual([]);
    });

    it("of a sandbox that has ended are refused by name, by answers without a body too", async () => {
      const other = await target().create();
      await other.destroy();
      await expect(other.files.read("/etc/hostname")).rejects.toMatchObject({ code: "sandbox_destroyed" });
      await expect(other.files.digest("/etc/hostname")).rejects.toMatchObject({ code: "sandbox_destroyed" });
    });

    it("are opened by a signed URL, alone", async () => {
      await sandbox.files.write(at("signed.txt"), "for you");
      const { url } = await sandbox.files.sign(at("signed.txt"), "read", { ttl: "5m" });
      // An installation of several servers signs with the address of any of them.
      const here = new URL(url);
      const answer = await fetch(new URL(`${here.pathname}${here.search}`, target().api.url));
      expect([answer.status, await answer.text()]).toEqual([200, "for you"]);
      here.searchParams.set("path", at("other.txt"));
      expect((await fetch(new URL(`${here.pathname}${here.search}`, target().api.url))).status).toBeGreaterThanOrEqual(400);
    });
  });
}
