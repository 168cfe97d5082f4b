import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { lstat, open, readdir } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { pack } from "tar-stream";

/** Names that are left alone in both directions, at any depth. */
export const ALWAYS_EXCLUDED: readonly string[] = [".git", "node_modules"];

/** A file as it was when it was looked at. */
export interface KnownFile {
  readonly sha256: string;
  readonly mode: number;
}

/** The files and folders of a folder, by path relative to it. What is neither, links included, is left out. */
export interface LocalTree {
  readonly files: ReadonlyMap<string, KnownFile>;
  readonly folders: ReadonlySet<string>;
  /** Paths of what was left out. */
  readonly skipped: readonly string[];
}

/** Reads a folder, without the names in `excluded`. */
export async function readLocalTree(folder: string, excluded: readonly string[]): Promise<LocalTree> {
  const files = new Map<string, KnownFile>();
  const folders = new Set<string>();
  const skipped: string[] = [];
  const walk = async (relative: string): Promise<void> => {
    for (const entry of await readdir(join(folder, relative), { withFileTypes: true })) {
      if (excluded.includes(entry.name)) continue;
      const path = join(relative, entry.name);
      const known = entry.isFile() ? await knownFile(join(folder, path)) : undefined;
      if (known !== undefined) files.set(path, known);
      else if (entry.isDirectory()) {
        folders.add(path);
        await walk(path);
      } else skipped.push(path);
    }
  };
  await walk("");
  return { files, folders, skipped };
}

/** What is known of a regular file; undefined when there is none at the path itself. Never looks through a link. */
export async function knownFile(path: string): Promise<KnownFile | undefined> {
  const found = await lstat(path).catch(() => undefined);
  if (found?.isFile() !== true) return undefined;
  await using file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  const hash = createHash("sha256");
  for await (const chunk of file.createReadStream({ autoClose: false })) hash.update(chunk as Buffer);
  return { sha256: hash.digest("hex"), mode: found.mode & 0o777 };
}

/** A tree as a tar stream, names relative to its folder. */
export function packTree(folder: string, tree: LocalTree): AsyncIterable<Uint8Array> {
  const archive = pack();
  const write = async (): Promise<void> => {
    for (const name of tree.folders) archive.entry({ name, type: "directory", mode: 0o755 });
    for (const [name, { mode }] of tree.files) {
      await using file = await open(join(folder, name), constants.O_RDONLY | constants.O_NOFOLLOW);
      const { size } = await file.stat();
      const entry = archive.entry({ name, type: "file", mode, size });
      const content = file.createReadStream({ autoClose: false, ...(size === 0 ? {} : { end: size - 1 }) });
      await pipeline(content, entry as unknown as NodeJS.WritableStream);
    }
  };
  write().then(
    () => archive.finalize(),
    (error: Error) => archive.destroy(error),
  );
  // The library's streams are Node's in all but their types.
  return archive as unknown as AsyncIterable<Uint8Array>;
}
