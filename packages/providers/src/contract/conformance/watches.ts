import type { FileChange, GuestClient, WatchOutput } from "@caisson/guest";
import { describe, expect, it } from "vitest";
import { bytesOf, codeOf, type Subject } from "./subject.ts";

let folders = 0;

/** A reader of one watch: what it was told so far. */
class Reader {
  readonly told: FileChange[] = [];
  readonly #items: AsyncIterator<WatchOutput>;

  constructor(items: AsyncIterable<WatchOutput>) {
    this.#items = items[Symbol.asyncIterator]();
  }

  /** Reads on until something was told, as `kind path`. */
  async until(what: string): Promise<void> {
    while (!this.told.some(({ kind, path }) => `${kind} ${path}` === what)) {
      const next = await this.#items.next();
      if (next.done === true) throw new Error("The changes ended.");
      if (next.value.type === "gap") throw new Error("Changes were lost.");
      this.told.push(...next.value.changes);
    }
  }

  /** The failure that ends it, after what was told before. */
  async end(): Promise<string> {
    return codeOf(this.until("nothing"));
  }

  async leave(): Promise<void> {
    await this.#items.return?.();
  }
}

/** Watching folders and files. */
export function watchCases(get: () => Subject): void {
  describe("watches", () => {
    const place = async (): Promise<{ guest: GuestClient; dir: string }> => {
      const { guest } = await get().shared();
      const dir = `/tmp/watched-${++folders}`;
      await guest.makeDir(dir);
      return { guest, dir };
    };

    it("tell of what processes and callers do, in order", async () => {
      const { guest, dir } = await place();
      await guest.makeDir(`${dir}/sub`);
      const { id, seq } = await guest.openWatch(dir, { recursive: true });
      const reader = new Reader(await guest.readWatch(id, seq));
      await get().text(guest, `cd ${dir}; echo one > a; mv a sub/b; chmod 600 sub/b; rm sub/b; mkdir new; echo two > new/file`);
      await reader.until(`created ${dir}/new/file`);
      const kinds = reader.told.filter((change) => change.path === `${dir}/sub/b`).map((change) => change.kind);
      expect(kinds).toEqual(["moved", "attributes", "deleted"]);
      expect(reader.told.find((change) => change.kind === "moved")).toMatchObject({ from: `${dir}/a`, directory: false });
      expect(reader.told.map((change) => change.seq)).toEqual(reader.told.map((_, i) => seq + i + 1));
      await guest.writeFile(`${dir}/deep/er/written`, bytesOf("x"), { atomic: false });
      await reader.until(`created ${dir}/deep/er/written`);
      expect(reader.told.find((change) => change.path === `${dir}/deep`)).toMatchObject({ kind: "created", directory: true });
      await guest.move(`${dir}/deep`, `${dir}/moved`);
      await get().text(guest, `echo x > ${dir}/moved/er/later`);
      await reader.until(`created ${dir}/moved/er/later`);
      await reader.leave();
      await guest.closeWatch(id);
    });

    it("outlive their connection and take up where a reader was", async () => {
      const subject = get();
      const { guest, dir } = await place();
      const { box } = await subject.shared();
      const other = await subject.connect(box);
      const { id } = await other.guest.openWatch(dir);
      await get().text(guest, `touch ${dir}/one`);
      const first = new Reader(await other.guest.readWatch(id, 0));
      await first.until(`created ${dir}/one`);
      other.link.close();
      await get().text(guest, `touch ${dir}/two`);
      const seen = first.told.at(-1)?.seq ?? 0;
      const again = new Reader(await guest.readWatch(id, seen));
      const both = new Reader(await guest.readWatch(id, 0));
      await again.until(`created ${dir}/two`);
      await both.until(`created ${dir}/two`);
      expect(again.told.every((change) => change.seq > seen)).toBe(true);
      expect(await codeOf(guest.readWatch(id, 9999))).toBe("invalid_argument");
      await guest.closeWatch(id);
      expect([await again.end(), await codeOf(guest.closeWatch(id)), await codeOf(guest.readWatch(id, 0))]).toEqual([
        "cancelled",
        "watch_not_found",
        "watch_not_found",
      ]);
    });

    it("of one file, or of a folder alone, tell of nothing else", async () => {
      const { guest, dir } = await place();
      await get().text(guest, `cd ${dir}; mkdir sub; echo 1 > file; echo 1 > other`);
      const [file, flat] = [await guest.openWatch(`${dir}/file`), await guest.openWatch(dir)];
      const readers = [new Reader(await guest.readWatch(file.id, 0)), new Reader(await guest.readWatch(flat.id, 0))] as const;
      await get().text(guest, `cd ${dir}; echo 2 > other; echo 2 > sub/below; echo 2 > file; rm file; touch end`);
      await readers[0].until(`deleted ${dir}/file`);
      await readers[1].until(`created ${dir}/end`);
      expect(readers[0].told.every((change) => change.path === `${dir}/file`)).toBe(true);
      expect(readers[1].told.some((change) => change.path.includes("below"))).toBe(false);
      expect(readers[1].told.some((change) => change.path === `${dir}/other`)).toBe(true);
      await guest.closeWatch(file.id);
      await guest.closeWatch(flat.id);
    });

    it("are refused where there is nothing, or nothing that may be read", async (context) => {
      const subject = get();
      const { guest, dir } = await place();
      expect(await codeOf(guest.openWatch(`${dir}/none`))).toBe("file_not_found");
      subject.needs(context, "users");
      await guest.makeDir(`${dir}/secret`, { mode: 0o700 });
      await guest.chown(`${dir}/secret`, "root:root");
      expect(await codeOf(guest.openWatch(`${dir}/secret`))).toBe("permission_denied");
      await guest.closeWatch((await guest.openWatch(`${dir}/secret`, { user: "root" })).id);
    });

    it("close by themselves when nobody reads them", async () => {
      const { guest, dir } = await place();
      const { id } = await guest.openWatch(dir, { expiresMs: 20 });
      await expect.poll(() => codeOf(guest.closeWatch(id))).toBe("watch_not_found");
    });
  });
}
