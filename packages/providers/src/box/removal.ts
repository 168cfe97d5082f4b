import { chmodSync, readdirSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { hasSystemCode } from "../cgroups/cgroup-file.ts";

/**
 * Removes a folder of a box with all in it. Nothing is followed out of it. A plain user may not enter folders without
 * permission bits that the box (or overlayfs) left, so these get them back first.
 */
export async function removeFolder(path: string): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true });
  } catch (error) {
    if (!hasSystemCode(error, "EACCES", "EPERM", "ENOTEMPTY")) throw error;
    openFolders(path);
    await rm(path, { recursive: true, force: true, maxRetries: 2 });
  }
}

function openFolders(path: string): void {
  try {
    chmodSync(path, 0o700);
    for (const entry of readdirSync(path, { withFileTypes: true })) if (entry.isDirectory()) openFolders(join(path, entry.name));
  } catch (error) {
    // The removal that failed goes on with what it has begun, beside us.
    if (!hasSystemCode(error, "ENOENT")) throw error;
  }
}
