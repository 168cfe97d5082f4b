import { createHash } from "node:crypto";
import { lstat, readdir, readFile, readlink } from "node:fs/promises";
import { join } from "node:path";

/** A digest of all that is in a folder: names, kinds, modes and contents. Equal trees have the same. */
export async function treeHash(folder: string): Promise<string> {
  const hash = createHash("sha256");
  const walk = async (relative: string): Promise<void> => {
    for (const name of (await readdir(join(folder, relative))).toSorted()) {
      const path = join(relative, name);
      const full = join(folder, path);
      const found = await lstat(full);
      hash.update(`${JSON.stringify(path)} ${(found.mode & 0o170_777).toString(8)}\n`);
      if (found.isSymbolicLink()) hash.update(await readlink(full));
      else if (found.isDirectory()) await walk(path);
      else
        hash.update(
          createHash("sha256")
            .update(await readFile(full))
            .digest(),
        );
    }
  };
  await walk("");
  return hash.digest("hex");
}
