import type { GuestClient, SearchMatch, SearchSummary } from "@caisson/guest";
import { describe, expect, it } from "vitest";
import { bytesOf, codeOf, readText, type Subject } from "./subject.ts";

let folders = 0;

/** All batches and the summary they end with. */
async function all<T>(batches: AsyncGenerator<readonly T[], SearchSummary, void>): Promise<{ items: T[]; summary: SearchSummary }> {
  const items: T[] = [];
  for (;;) {
    const next = await batches.next();
    if (next.done === true) return { items, summary: next.value };
    items.push(...next.value);
  }
}

/** Searching and replacing in files. */
export function searchCases(get: () => Subject): void {
  describe("search", () => {
    const place = async (files: Readonly<Record<string, string>>): Promise<{ guest: GuestClient; dir: string }> => {
      const { guest } = await get().shared();
      const dir = `/tmp/searched-${++folders}`;
      await guest.makeDir(dir);
      for (const [name, content] of Object.entries(files)) await guest.writeFile(`${dir}/${name}`, bytesOf(content));
      return { guest, dir };
    };
    const short = (dir: string, matches: readonly SearchMatch[]): string[] =>
      matches.map(
        (match) => `${match.path.slice(dir.length + 1)}:${match.line}:${match.offset}:${match.text.slice(match.start, match.end)}`,
      );

    it("finds every match with its place, in order", async () => {
      const { guest, dir } = await place({ "b.ts": "let ünï = 1;\r\nlet y = 22;\n", "a/c.md": "x = 3", "a/d.ts": "none" });
      const { items, summary } = await all(guest.search(dir, "(\\S+) = \\d+"));
      expect(short(dir, items)).toEqual(["a/c.md:1:0:x = 3", "b.ts:1:4:ünï = 1", "b.ts:2:20:y = 22"]);
      expect(items[1]?.text).toBe("let ünï = 1;");
      expect(summary).toEqual({ files: 3, skipped: 0, truncated: false });
      expect(short(dir, (await all(guest.search(dir, "ÜNÏ", { ignoreCase: true }))).items)).toEqual(["b.ts:1:4:ünï"]);
      expect(short(dir, (await all(guest.search(`${dir}/b.ts`, "^let y", {}))).items)).toEqual(["b.ts:2:16:let y"]);
    });

    it("looks only where it is told to", async () => {
      const { guest, dir } = await place({ "x.ts": "hit", "x.js": "hit", "sub/x.ts": "hit", "sub/deep/x.ts": "hit", binary: "hit\0hit" });
      const where = async (options: Parameters<GuestClient["search"]>[2]): Promise<string[]> =>
        (await all(guest.search(dir, "hit", options))).items.map((match) => match.path.slice(dir.length + 1));
      expect(await where({ include: ["**/*.ts"] })).toEqual(["sub/deep/x.ts", "sub/x.ts", "x.ts"]);
      expect(await where({ include: ["*.ts", "*.js"] })).toEqual(["x.js", "x.ts"]);
      expect(await where({ exclude: ["sub/deep", "*.js"] })).toEqual(["sub/x.ts", "x.ts"]);
      const { items, summary } = await all(guest.search(dir, "hit", { limit: 2 }));
      expect([items.length, summary.truncated]).toEqual([2, true]);
      expect((await all(guest.search(dir, "hit", { maxFileBytes: 2 }))).summary).toMatchObject({ files: 0, skipped: 5 });
    });

    it("takes plain text as it is, and says what is wrong with a pattern", async () => {
      const { guest, dir } = await place({ f: "a.b axb $1 (" });
      expect(short(dir, (await all(guest.search(dir, "a.b", { fixed: true }))).items)).toEqual(["f:1:0:a.b"]);
      expect((await all(guest.search(dir, "(", { fixed: true }))).items).toHaveLength(1);
      expect(await codeOf(guest.search(dir, "a(").next())).toBe("invalid_argument");
      expect(await codeOf(guest.search(`${dir}/none`, "a").next())).toBe("file_not_found");
    });

    it("is not led to do endless work", async (context) => {
      const subject = get();
      subject.needsWall(context);
      const { guest, dir } = await place({ evil: "a".repeat(60_000) });
      expect((await all(guest.search(dir, "(a*)*[bc]"))).items).toEqual([]);
      expect((await all(guest.search(dir, "(a|aa)+$"))).items).toHaveLength(1);
    });

    it("replaces what it finds and nothing else", async () => {
      const { guest, dir } = await place({ crlf: "one\r\ntwo one\r\n", other: "two\n", "sub/kv": "key=value" });
      await guest.chmod(`${dir}/crlf`, 0o640);
      const other = await guest.stat(`${dir}/other`);
      const dry = await all(guest.replace(dir, "one", "1", { dryRun: true }));
      expect([dry.items, await readText(guest, `${dir}/crlf`)]).toEqual([[{ path: `${dir}/crlf`, count: 2 }], "one\r\ntwo one\r\n"]);
      const { items, summary } = await all(guest.replace(dir, "one$", "1"));
      expect([items, summary]).toEqual([[{ path: `${dir}/crlf`, count: 2 }], { files: 3, skipped: 0, truncated: false }]);
      expect(await readText(guest, `${dir}/crlf`)).toBe("1\r\ntwo 1\r\n");
      expect([(await guest.stat(`${dir}/crlf`)).mode, (await guest.stat(`${dir}/other`)).version]).toEqual([0o640, other.version]);
      await all(guest.replace(dir, "(\\w+)=(\\w+)", "$2=$1$$"));
      expect(await readText(guest, `${dir}/sub/kv`)).toBe("value=key$");
      await all(guest.replace(`${dir}/sub/kv`, "$", "$1", { fixed: true }));
      expect(await readText(guest, `${dir}/sub/kv`)).toBe("value=key$1");
    });

    it("has the rights of the user who asks", async (context) => {
      const subject = get();
      subject.needs(context, "users");
      const { guest, dir } = await place({ secret: "hit", mine: "hit" });
      await guest.chown(`${dir}/secret`, "root:root");
      await guest.chmod(`${dir}/secret`, 0o600, { user: "root" });
      expect(short(dir, (await all(guest.search(dir, "hit"))).items)).toEqual(["mine:1:0:hit"]);
      expect((await all(guest.search(dir, "hit", { user: "root" }))).items).toHaveLength(2);
      expect((await all(guest.replace(dir, "hit", "x"))).summary).toMatchObject({ files: 1, skipped: 1 });
    });
  });
}
