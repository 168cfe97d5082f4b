import { createHash } from "node:crypto";
import { isCaissonError } from "@caisson/contract";
import type { GuestClient } from "@caisson/guest";
import { describe, expect, it } from "vitest";
import { bytesOf, codeOf, collect, readText, type Subject } from "./subject.ts";

let folders = 0;

/** Uploads: files that arrive in parts, over any number of links, and show when they are whole. */
export function uploadCases(get: () => Subject): void {
  describe("uploads", () => {
    const place = async (): Promise<{ guest: GuestClient; dir: string }> => {
      const { guest } = await get().shared();
      const dir = `/tmp/uploads-${++folders}`;
      await guest.makeDir(dir);
      return { guest, dir };
    };
    const names = async (guest: GuestClient, dir: string): Promise<string[]> =>
      (await collect(guest.listDir(dir))).map((entry) => entry.name).filter((name) => !name.startsWith("."));

    it("show at their path when they are committed, and not before", async () => {
      const { guest, dir } = await place();
      const path = `${dir}/new/file`;
      const upload = await guest.openUpload(path, { size: 10, mode: 0o640 });
      expect(upload).toMatchObject({ path, size: 10, offset: 0 });
      expect(await guest.writeUpload(upload.id, 0, bytesOf("0123", "4"))).toBe(5);
      expect(await guest.upload(upload.id)).toMatchObject({ id: upload.id, offset: 5 });
      expect(await names(guest, `${dir}/new`)).toEqual([]);
      expect(await guest.writeUpload(upload.id, 5, bytesOf("56789"))).toBe(10);
      const { entry, sha256 } = await guest.commitUpload(upload.id);
      expect(entry).toMatchObject({ path, size: 10, mode: 0o640, type: "file" });
      expect(sha256).toBe(createHash("sha256").update("0123456789").digest("hex"));
      expect([await readText(guest, path), await names(guest, `${dir}/new`)]).toEqual(["0123456789", ["file"]]);
      expect((await collect(guest.listDir(`${dir}/new`))).length).toBe(1);
      expect(await codeOf(guest.upload(upload.id))).toBe("upload_not_found");
    });

    it("replace a file at once: its readers see the old one or the new one", async () => {
      const { guest, dir } = await place();
      const path = `${dir}/file`;
      const [old, fresh] = ["o".repeat(200_000), "n".repeat(300_000)];
      await guest.writeFile(path, bytesOf(old), { mode: 0o751 });
      const reader = await guest.readFile(path);
      const upload = await guest.openUpload(path);
      await guest.writeUpload(upload.id, 0, bytesOf(fresh));
      expect(await readText(guest, path)).toBe(old);
      let committed = false;
      const seen = new Set<string>();
      const watching = (async () => {
        do seen.add(await readText(guest, path));
        while (!committed);
      })();
      const { entry } = await guest.commitUpload(upload.id);
      committed = true;
      await watching;
      expect([...seen].filter((text) => text !== old && text !== fresh)).toEqual([]);
      expect([await readText(guest, path), entry.mode]).toEqual([fresh, 0o751]);
      expect(Buffer.concat(await collect(reader.content)).toString()).toBe(old);
    });

    it("go on where they stood when their link broke", async () => {
      const subject = get();
      const { guest, dir } = await place();
      const { box } = await subject.shared();
      const other = await subject.connect(box);
      const upload = await other.guest.openUpload(`${dir}/file`);
      async function* halting(): AsyncGenerator<Uint8Array> {
        yield Buffer.from("first ");
        await expect.poll(async () => (await guest.upload(upload.id)).offset).toBe(6);
        other.link.close();
        yield Buffer.from("lost");
      }
      expect(await codeOf(other.guest.writeUpload(upload.id, 0, halting()))).not.toBe("no error");
      const { offset } = await guest.upload(upload.id);
      expect(offset).toBe(6);
      expect((await guest.uploads()).map((each) => each.id)).toContain(upload.id);
      await guest.writeUpload(upload.id, offset, bytesOf("second"));
      await guest.commitUpload(upload.id);
      expect(await readText(guest, `${dir}/file`)).toBe("first second");
    });

    it("say where they stand to a writer who is wrong about it", async () => {
      const { guest, dir } = await place();
      const upload = await guest.openUpload(`${dir}/file`, { size: 4 });
      await guest.writeUpload(upload.id, 0, bytesOf("ab"));
      for (const offset of [0, 1, 3]) {
        const wrong = await guest.writeUpload(upload.id, offset, bytesOf("x")).catch((error: unknown) => error);
        expect(isCaissonError(wrong, "conflict") && wrong.detail).toEqual({ offset: 2 });
      }
      const early = await guest.commitUpload(upload.id).catch((error: unknown) => error);
      expect(isCaissonError(early, "conflict") && early.detail).toEqual({ offset: 2 });
      expect(await codeOf(guest.writeUpload(upload.id, 2, bytesOf("too long")))).toBe("invalid_argument");
      await guest.writeUpload(upload.id, 2, bytesOf("cd"));
      await guest.commitUpload(upload.id);
      expect(await readText(guest, `${dir}/file`)).toBe("abcd");
    });

    it("leave the old file when the digest is another, and stay", async () => {
      const { guest, dir } = await place();
      await guest.writeFile(`${dir}/file`, bytesOf("old"));
      const upload = await guest.openUpload(`${dir}/file`);
      await guest.writeUpload(upload.id, 0, bytesOf("new"));
      const of = (text: string): string => createHash("sha256").update(text).digest("hex");
      expect(await codeOf(guest.commitUpload(upload.id, { sha256: of("else") }))).toBe("digest_mismatch");
      expect(await codeOf(guest.commitUpload(upload.id, { sha256: "short" }))).toBe("invalid_argument");
      expect(await readText(guest, `${dir}/file`)).toBe("old");
      expect((await guest.commitUpload(upload.id, { sha256: of("new") })).sha256).toBe(of("new"));
      expect(await readText(guest, `${dir}/file`)).toBe("new");
    });

    it("have one writer: a new one ends the old", async () => {
      const { guest, dir } = await place();
      const upload = await guest.openUpload(`${dir}/file`);
      const released = Promise.withResolvers<void>();
      async function* slow(): AsyncGenerator<Uint8Array> {
        yield Buffer.from("old ");
        await released.promise;
        yield Buffer.from("never");
      }
      const old = codeOf(guest.writeUpload(upload.id, 0, slow()));
      await expect.poll(async () => (await guest.upload(upload.id)).offset).toBe(4);
      await guest.writeUpload(upload.id, 4, bytesOf("new"));
      released.resolve();
      expect(await old).toBe("cancelled");
      await guest.commitUpload(upload.id);
      expect(await readText(guest, `${dir}/file`)).toBe("old new");
    });

    it("leave nothing when they are cancelled or expire", async () => {
      const { guest, dir } = await place();
      const cancelled = await guest.openUpload(`${dir}/a`);
      await guest.writeUpload(cancelled.id, 0, bytesOf("some"));
      await guest.cancelUpload(cancelled.id);
      expect(await codeOf(guest.commitUpload(cancelled.id))).toBe("upload_not_found");
      expect(await codeOf(guest.cancelUpload(cancelled.id))).toBe("upload_not_found");
      expect(await codeOf(guest.writeUpload(cancelled.id, 4, bytesOf("more")))).toBe("upload_not_found");
      const expired = await guest.openUpload(`${dir}/b`, { expiresMs: 1 });
      expect(expired.id).toBeGreaterThan(cancelled.id);
      await expect.poll(() => codeOf(guest.upload(expired.id))).toBe("upload_not_found");
      await expect.poll(() => collect(guest.listDir(dir))).toEqual([]);
    });

    it("name what is wrong before any byte comes", async () => {
      const { guest, dir } = await place();
      expect(await codeOf(guest.openUpload(dir))).toBe("is_a_directory");
      expect(await codeOf(guest.openUpload(`${dir}/x/`))).toBe("is_a_directory");
      expect(await codeOf(guest.openUpload(`${dir}/no/parent`, { createParents: false }))).toBe("file_not_found");
      expect(await codeOf(guest.openUpload("relative"))).toBe("invalid_argument");
      expect(await codeOf(guest.openUpload(`${dir}/x`, { expiresMs: 0 }))).toBe("invalid_argument");
    });

    it("obey the rights of the user who opened them", async (context) => {
      const subject = get();
      subject.needs(context, "users");
      const { guest, dir } = await place();
      expect(await codeOf(guest.openUpload("/etc/forbidden"))).toBe("permission_denied");
      const upload = await guest.openUpload(`${dir}/roots`, { user: "root" });
      await guest.writeUpload(upload.id, 0, bytesOf("x"));
      expect((await guest.commitUpload(upload.id)).entry.uid).toBe(0);
      const mine = await guest.openUpload(`${dir}/mine`);
      expect((await guest.commitUpload(mine.id)).entry.uid).toBe(1000);
    });

    it("carry 20 MB with the digest of the other way", async () => {
      const { guest, dir } = await place();
      const block = Buffer.from(Array.from({ length: 100_000 }, (_, i) => (i * 11) & 255));
      const whole = Array.from({ length: 200 }, () => block);
      const upload = await guest.openUpload(`${dir}/big`, { size: 20_000_000 });
      expect(await guest.writeUpload(upload.id, 0, bytesOf(...whole.slice(0, 77)))).toBe(7_700_000);
      await guest.writeUpload(upload.id, 7_700_000, bytesOf(...whole.slice(77)));
      const sha256 = createHash("sha256").update(Buffer.concat(whole)).digest("hex");
      expect((await guest.commitUpload(upload.id, { sha256 })).sha256).toBe(sha256);
      expect(await guest.digest(`${dir}/big`)).toMatchObject({ sha256, entry: { size: 20_000_000 } });
    });
  });
}
