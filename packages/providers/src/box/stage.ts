import { lstatSync, realpathSync } from "node:fs";
import { CaissonError } from "@caisson/contract";

/** Folders that machines have and that hold nothing a box is made from. */
const CANDIDATES = ["/dev/shm", "/mnt", "/media", "/srv", "/run/lock"];

/** A folder that a supervisor may cover with its private stage: none of the paths in use may lie in it. */
export function findStage(inUse: readonly string[], candidates: readonly string[] = CANDIDATES): string {
  const real = inUse.map((path) => realpathSync(path));
  const found = candidates.find((candidate) => isPlainFolder(candidate) && real.every((path) => !`${path}/`.startsWith(`${candidate}/`)));
  if (found === undefined)
    throw new CaissonError("provider_unavailable", `None of ${candidates.join(", ")} can be covered for a private stage.`);
  return found;
}

function isPlainFolder(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}
