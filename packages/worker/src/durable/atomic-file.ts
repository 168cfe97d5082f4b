import { randomBytes } from "node:crypto";
import { open, readdir, readFile, rename, rm, type FileHandle } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { isMissing } from "./file-error.ts";

/** Ending of files that are being written; what carries it after a crash is refuse. */
const UNFINISHED = ".unfinished";

/** Replaces a file as a whole: after a crash there is the old text or the new one, on disk when this resolves. Mode 0600. */
export async function writeAtomic(path: string, text: string): Promise<void> {
  await replace(path, text, (file) => file.sync());
  await syncFolder(dirname(path));
}

/**
 * Replaces a file as a whole for every process that looks from now on, also after a crash of this one. A crash of the machine
 * may lose the new text, or leave a file without any.
 */
export async function writeVisible(path: string, text: string): Promise<void> {
  await replace(path, text, () => Promise.resolve());
}

async function replace(path: string, text: string, settle: (file: FileHandle) => Promise<void>): Promise<void> {
  const unfinished = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString("hex")}${UNFINISHED}`);
  try {
    const file = await open(unfinished, "wx", 0o600);
    try {
      await file.writeFile(text);
      await settle(file);
    } finally {
      await file.close();
    }
    await rename(unfinished, path);
  } catch (error) {
    await rm(unfinished, { force: true });
    throw error;
  }
}

/** Removes a file so that it stays removed after a crash. Missing is fine. */
export async function removeDurably(path: string): Promise<void> {
  await rm(path, { force: true });
  await syncFolder(dirname(path));
}

/** Text of a file; undefined when there is none. */
export async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** Removes files that a crash left unfinished in a folder; returns how many. */
export async function removeUnfinished(folder: string): Promise<number> {
  let removed = 0;
  for (const name of await readdir(folder)) {
    if (!name.endsWith(UNFINISHED)) continue;
    await rm(join(folder, name), { force: true });
    removed += 1;
  }
  return removed;
}

/** Puts names of a folder (a rename, a removal) on disk. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
