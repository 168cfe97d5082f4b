import { chmodSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { CaissonError } from "@caisson/contract";
import type { RootFs } from "../contract/provider.ts";
import type { MountStep } from "../supervisor/supervisor-arguments.ts";
import { STAGED } from "./technology.ts";

/**
 * `id-mapped`: layers keep ids 0.. on disk and show shifted into the box's range, so every box can have a range of its
 * own and its files can move to another box. `own`: one user, one id; the machine's `/usr` stays read-only.
 */
export type Ownership = "id-mapped" | "own";

/**
 * How a box sees the machine's `/usr`. `layered`: owned by its root and writable, in a layer of its own. `read-only`: as it
 * is, owned by nobody; for a plain user, and where the file system under `/usr` cannot show its owners shifted.
 */
export type UsrView = "layered" | "read-only";

/** The mounts that make a box's root file system on the stage. */
export function planRootFs(rootfs: RootFs, ownership: Ownership, usr: UsrView): readonly MountStep[] {
  const idMap = ownership === "id-mapped";
  if (!idMap && rootfs.kind === "folder" && rootfs.owner === "root")
    throw new CaissonError("unsupported", "This image was unpacked by the machine's root; a plain user cannot map its owners.");
  const lower = rootfs.kind === "host" ? rootfs.skeleton : rootfs.path;
  const steps: MountStep[] = [layered(STAGED.root, lower, "root", idMap)];
  if (rootfs.kind === "host") {
    const target = `${STAGED.root}/usr`;
    steps.push(
      idMap && usr === "layered"
        ? layered(target, "/usr", "usr", idMap)
        : { kind: "bind", source: "/usr", target, readOnly: true, idMap: false },
    );
  }
  for (const name of ["proc", "dev", "run", "tmp"]) steps.push({ kind: "directory", target: `${STAGED.root}/${name}` });
  return steps;
}

/** Makes the folders that the plan writes to, in the box's folder. Existing ones are kept with their content. */
export function makeLayerFolders(dir: string, steps: readonly MountStep[]): void {
  for (const step of steps) {
    if (step.kind !== "overlay") continue;
    for (const path of [step.upper, step.work]) {
      mkdirSync(join(dir, path), { recursive: true });
      // The mode of the upper folder is that of the mounted root, whatever our umask is.
      chmodSync(join(dir, path), 0o755);
    }
  }
}

function layered(target: string, lower: string, name: string, idMap: boolean): MountStep {
  const folder = join("layers", name);
  return { kind: "overlay", target, lower: [lower], upper: join(folder, "upper"), work: join(folder, "work"), idMap };
}
