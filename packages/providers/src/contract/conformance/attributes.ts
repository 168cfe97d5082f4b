import { createHash } from "node:crypto";
import { isCaissonError } from "@caisson/contract";
import type { GuestClient } from "@caisson/guest";
import { describe, expect, it, type TestContext } from "vitest";
import { bytesOf, codeOf, type Subject } from "./subject.ts";

let folders = 0;

/** Extended attributes and digests. */
export function attributeCases(get: () => Subject): void {
  describe("attributes", () => {
    const file = async (): Promise<{ guest: GuestClient; path: string }> => {
      const { guest } = await get().shared();
      const path = `/tmp/attributes-${++folders}/file`;
      await guest.writeFile(path, bytesOf("content"));
      return { guest, path };
    };

    it("are set, shown and removed", async (context) => {
      const { guest, path } = await file();
      await needsXattrs(context, guest, path);
      expect(await guest.getXattrs(path)).toEqual(new Map());
      await guest.setXattr(path, "user.one", Uint8Array.of(0, 1, 255));
      await guest.setXattr(path, "user.two", new Uint8Array());
      await guest.setXattr(path, "user.one", Buffer.from("again"));
      const shown = [...(await guest.getXattrs(path))].map(([name, value]) => [name, Buffer.from(value).toString()] as const);
      expect(Object.fromEntries(shown)).toEqual({ "user.one": "again", "user.two": "" });
      await guest.removeXattr(path, "user.two");
      expect([...(await guest.getXattrs(path)).keys()]).toEqual(["user.one"]);
      expect(await codeOf(guest.removeXattr(path, "user.two"))).toBe("file_not_found");
      expect(await codeOf(guest.setXattr(path, "", Buffer.from("x")))).toBe("invalid_argument");
      expect(await codeOf(guest.setXattr(path, "user.big", Buffer.alloc(65_537)))).toBe("invalid_argument");
      expect(await codeOf(guest.setXattr(path, "no-namespace", Buffer.from("x")))).toBe("unsupported");
    });

    it("belong to what a link leads to, unless the link is meant", async (context) => {
      const { guest, path } = await file();
      await needsXattrs(context, guest, path);
      await get().text(guest, `ln -s file ${path}-link`);
      await guest.setXattr(`${path}-link`, "user.x", Buffer.from("1"));
      expect([...(await guest.getXattrs(path)).keys()]).toEqual(["user.x"]);
      expect(await guest.getXattrs(`${path}-link`, { follow: false })).toEqual(new Map());
    });

    it("obey the rights of the user who acts", async (context) => {
      get().needs(context, "users");
      const { guest, path } = await file();
      await needsXattrs(context, guest, path);
      await guest.chown(path, "root:root");
      expect(await codeOf(guest.setXattr(path, "user.x", Buffer.from("1")))).toBe("permission_denied");
      await guest.setXattr(path, "user.x", Buffer.from("1"), { user: "root" });
    });

    it("change the version of a file, and so does writing", async () => {
      const { guest, path } = await file();
      const versions = [(await guest.stat(path)).version];
      await guest.writeFile(path, bytesOf("CONTENT"));
      versions.push((await guest.stat(path)).version);
      expect(versions[1]).not.toBe(versions[0]);
      // What changes within one tick of a kernel's clock is not told apart.
      const changed = async (): Promise<string> => {
        await guest.chmod(path, 0o600);
        return (await guest.stat(path)).version;
      };
      await expect.poll(changed).not.toBe(versions[1]);
      expect((await guest.stat(path)).version).toBe((await guest.stat(path)).version);
    });

    it("of content: the digest is of the whole file", async () => {
      const { guest, path } = await file();
      const { entry, sha256 } = await guest.digest(path);
      expect(entry).toMatchObject({ path, size: 7 });
      expect(sha256).toBe(createHash("sha256").update("content").digest("hex"));
      await guest.writeFile(path, bytesOf());
      expect((await guest.digest(path)).sha256).toBe(createHash("sha256").digest("hex"));
      expect(await codeOf(guest.digest(`${path}-none`))).toBe("file_not_found");
      expect(await codeOf(guest.digest("/tmp"))).toBe("is_a_directory");
    });
  });
}

/** Skips where the box's file system has no attributes and says so. */
async function needsXattrs(context: TestContext, guest: GuestClient, path: string): Promise<void> {
  try {
    await guest.setXattr(path, "user.probe", Buffer.from("x"));
    await guest.removeXattr(path, "user.probe");
  } catch (error) {
    if (!isCaissonError(error, "unsupported")) throw error;
    context.skip(true, `no extended attributes: ${error.message}`);
  }
}
