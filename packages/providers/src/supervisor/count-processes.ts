import { readdirSync, readFileSync } from "node:fs";
import { hasSystemCode } from "../cgroups/cgroup-file.ts";

/** More than any box has; a tree that grows while it is read ends here. */
const LIMIT = 100_000;

/** How many processes a box has, from the tree below its supervisor; the runtime between them is not the box's own. */
export function countProcesses(supervisorPid: number): number {
  let generation = childrenOf(supervisorPid).flatMap(childrenOf);
  let count = 0;
  while (generation.length > 0 && count < LIMIT) {
    count += generation.length;
    generation = generation.flatMap(childrenOf);
  }
  return count;
}

function childrenOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
      readFileSync(`/proc/${pid}/task/${thread}/children`, "utf8").split(" ").filter(Boolean).map(Number),
    );
  } catch (error) {
    // It ended while we looked.
    if (hasSystemCode(error, "ENOENT", "ESRCH")) return [];
    throw error;
  }
}
