import { chmod, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { isMissing, systemCode } from "./file-error.ts";

/** Removes a folder of our own and all below it, also folders that we may not write. Links are not followed. Missing is fine. */
export async function removeTree(path: string): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true });
  } catch (error) {
    const code = systemCode(error);
    if (code !== "EACCES" && code !== "EPERM" && code !== "ENOTEMPTY") throw error;
    await openUp(path);
    await rm(path, { recursive: true, force: true });
  }
}

/** Gives ourselves the right to list and change every folder of the tree. */
async function openUp(folder: string): Promise<void> {
  try {
    await chmod(folder, 0o700);
    for (const entry of await readdir(folder, { withFileTypes: true })) {
      if (entry.isDirectory()) await openUp(join(folder, entry.name));
    }
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
}
