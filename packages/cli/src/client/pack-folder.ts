import { createReadStream, type Stats } from "node:fs";
import { lstat, readdir, readlink } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { pack, type Header, type Pack } from "tar-stream";

/** A folder as a tar stream of a root file system: names relative to it, with modes, owners, links and hard links. */
export function packFolder(folder: string): AsyncIterable<Uint8Array> {
  const archive = pack();
  const seen = new Map<string, string>();
  const walk = async (relative: string): Promise<void> => {
    for (const name of (await readdir(join(folder, relative))).sort()) {
      const path = join(relative, name);
      const found = await lstat(join(folder, path));
      await addEntry(archive, { folder, path, found, seen });
      if (found.isDirectory()) await walk(path);
    }
  };
  walk("").then(
    () => archive.finalize(),
    (error: Error) => archive.destroy(error),
  );
  // The library's streams are Node's in all but their types.
  return archive as unknown as AsyncIterable<Uint8Array>;
}

type EntryHeader = Partial<Header> & Pick<Header, "name">;

interface Entry {
  readonly folder: string;
  readonly path: string;
  readonly found: Stats;
  /** First name of every file that has several. */
  readonly seen: Map<string, string>;
}

async function addEntry(archive: Pack, { folder, path, found, seen }: Entry): Promise<void> {
  const header: EntryHeader = { name: path, mode: found.mode & 0o7777, uid: found.uid, gid: found.gid, mtime: found.mtime };
  if (found.isSymbolicLink()) {
    const linkname = await readlink(join(folder, path));
    return add(archive, { ...header, type: "symlink", linkname });
  }
  if (found.isDirectory()) return add(archive, { ...header, type: "directory" });
  if (found.isFIFO()) return add(archive, { ...header, type: "fifo" });
  if (!found.isFile()) return; // devices and sockets mean nothing elsewhere
  const inode = `${found.dev}:${found.ino}`;
  const first = found.nlink > 1 ? seen.get(inode) : undefined;
  if (first !== undefined) return add(archive, { ...header, type: "link", linkname: first });
  seen.set(inode, path);
  const entry = archive.entry({ ...header, type: "file", size: found.size });
  await pipeline(
    createReadStream(join(folder, path), found.size === 0 ? {} : { end: found.size - 1 }),
    entry as unknown as NodeJS.WritableStream,
  );
}

function add(archive: Pack, header: EntryHeader): Promise<void> {
  return new Promise((resolve, reject) => {
    archive.entry(header, (error) => (error ? reject(error) : resolve()));
  });
}
