import { lstat, readdir, rename } from "node:fs/promises";
import { join } from "node:path";
import { CaissonError } from "@caisson/contract";

/**
 * Moves a tree, which was unpacked beside or in it, to its place. A target that does not exist appears whole; into a folder
 * that does each file is moved whole, over what had its name. What is there is never followed: a symlink where the tree has
 * a folder ends the copy, one where the tree has a file is replaced itself.
 */
export async function placeTree(folder: string, target: string): Promise<void> {
  const there = await kindOf(target);
  if (there === "nothing") return rename(folder, target);
  if (there !== "folder") throw inTheWay(target, there);
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const from = join(folder, entry.name);
    const to = join(target, entry.name);
    if (entry.isDirectory()) {
      await placeTree(from, to);
      continue;
    }
    const before = await kindOf(to);
    if (before === "folder") throw inTheWay(to, before);
    await rename(from, to);
  }
}

/** What is at a path of this machine; a symlink is one, wherever it leads. */
export async function kindOf(path: string): Promise<"nothing" | "folder" | "symlink" | "file"> {
  try {
    const found = await lstat(path);
    return found.isDirectory() ? "folder" : found.isSymbolicLink() ? "symlink" : "file";
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "nothing";
    throw error;
  }
}

function inTheWay(path: string, kind: string): CaissonError {
  return new CaissonError("already_exists", `${path} is in the way: it is a ${kind}.`, {
    detail: { remedy: "Move it away, or copy to another place." },
  });
}
