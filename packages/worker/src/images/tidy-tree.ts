import { lstat, readdir, unlink } from "node:fs/promises";
import { join } from "node:path";

/** What was found in a tree. */
export interface TidiedTree {
  /** Bytes of all regular files, hard links counted once. */
  readonly bytes: number;
  /** Device nodes, pipes and sockets that were removed. */
  readonly removed: number;
}

/** Removes from an unpacked image what has no business there: a device node in it would be one in every box. */
export async function tidyTree(root: string, signal: AbortSignal): Promise<TidiedTree> {
  const linked = new Set<number>();
  let bytes = 0;
  let removed = 0;
  const folders = [root];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    signal.throwIfAborted();
    for (const entry of await readdir(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) folders.push(path);
      else if (entry.isFile()) {
        const { size, nlink, ino } = await lstat(path);
        if (nlink > 1 && linked.has(ino)) continue;
        if (nlink > 1) linked.add(ino);
        bytes += size;
      } else if (!entry.isSymbolicLink()) {
        await unlink(path);
        removed += 1;
      }
    }
  }
  return { bytes, removed };
}
