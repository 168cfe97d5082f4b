import { createHash } from "node:crypto";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  symlinkSync,
  type Stats,
} from "node:fs";
import { chmod, chown, lstat, mkdir, mkdtemp, readlink, rename, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { CaissonError } from "@caisson/contract";
import { isMissing } from "../durable/file-error.ts";
import { removeTree } from "../durable/remove-tree.ts";
import { COPIED_PATHS, COPY_LIMITS, FOLDERS, freshEntries, MERGED_LINKS } from "./host-skeleton-plan.ts";

/** Raised whenever the plan changes, so that a new skeleton is made. */
const SKELETON_VERSION = 1;

/** Where the machine is looked at; another root than `/` only in tests. */
export interface HostSkeletonOptions {
  /** Folder that holds skeletons, one per key. */
  readonly dir: string;
  /** Folder on the same file system for unfinished ones. */
  readonly staging: string;
  /** Root of the machine. Default `/`. */
  readonly machine?: string;
}

/** A skeleton that stands. */
export interface HostSkeleton {
  /** Changes with the plan and with what was copied. */
  readonly key: string;
  readonly path: string;
}

/**
 * The folder that a box of the image `host` has below the machine's `/usr`, made when missing. Its key is a fingerprint of
 * all it was made from, so an update of the machine leads to a new skeleton while running boxes keep the old one.
 */
export async function ensureHostSkeleton(options: HostSkeletonOptions): Promise<HostSkeleton> {
  const machine = options.machine ?? "/";
  const links = await mergedLinks(machine);
  const key = await fingerprint(machine, links);
  const path = join(options.dir, key);
  if ((await statOrUndefined(path)) !== undefined) return { key, path };
  const staged = await mkdtemp(join(options.staging, "skeleton-"));
  try {
    await build(staged, machine, links);
    await mkdir(options.dir, { recursive: true, mode: 0o700 });
    await rename(staged, path);
  } catch (error) {
    await removeTree(staged);
    // Another call may have made the same one meanwhile.
    if ((await statOrUndefined(path)) === undefined) throw error;
  }
  return { key, path };
}

async function build(root: string, machine: string, links: ReadonlyMap<string, string>): Promise<void> {
  const isRoot = process.getuid?.() === 0;
  const own = async (path: string, owner: number | undefined): Promise<void> => {
    if (isRoot) await chown(path, owner ?? 0, owner ?? 0);
  };
  await chmod(root, 0o755);
  await own(root, undefined);
  for (const folder of FOLDERS) {
    const path = join(root, folder.path);
    await mkdir(path);
    await own(path, folder.owner);
    await chmod(path, folder.mode);
  }
  for (const [name, target] of links) await symlink(target, join(root, name));
  for (const entry of freshEntries(await loginShell(machine))) {
    const path = join(root, entry.path);
    if ("link" in entry) {
      await symlink(entry.link, path);
      continue;
    }
    await writeFile(path, entry.text, { flag: "wx" });
    await own(path, entry.owner);
    await chmod(path, entry.mode ?? 0o644);
  }
  if ((await statOrUndefined(join(machine, "usr/lib/os-release"))) !== undefined)
    await symlink("../usr/lib/os-release", join(root, "etc/os-release"));
  const budget = { bytes: 0, entries: 0 };
  for (const { path } of COPIED_PATHS) copy(join(machine, path), join(root, path), budget, isRoot);
}

/**
 * Copies what every user may read; bounded; links stay links. Synchronous: a thousand small files cost a tenth of what they
 * would with an await each, and it happens once per change of the machine.
 */
function copy(from: string, to: string, budget: { bytes: number; entries: number }, isRoot: boolean): void {
  const stat = lstatSync(from, { throwIfNoEntry: false });
  if (stat === undefined || budget.entries >= COPY_LIMITS.entries) return;
  budget.entries += 1;
  openFolder(dirname(to));
  if (stat.isSymbolicLink()) {
    symlinkSync(readlinkSync(from), to);
    return;
  }
  if (stat.isDirectory()) {
    if ((stat.mode & 0o005) !== 0o005) return;
    openFolder(to);
    for (const name of readdirSync(from)) copy(join(from, name), join(to, name), budget, isRoot);
    return;
  }
  if (!stat.isFile() || (stat.mode & 0o004) === 0) return;
  if (stat.size > COPY_LIMITS.fileBytes || budget.bytes + stat.size > COPY_LIMITS.totalBytes) return;
  budget.bytes += stat.size;
  copyFileSync(from, to);
  if (isRoot) chownSync(to, 0, 0);
  chmodSync(to, 0o644 | (stat.mode & 0o111));
}

/** Makes a folder and its parents readable for all, whatever the umask. */
function openFolder(path: string): void {
  if (existsSync(path)) return;
  openFolder(dirname(path));
  mkdirSync(path);
  chmodSync(path, 0o755);
}

async function mergedLinks(machine: string): Promise<ReadonlyMap<string, string>> {
  const links = new Map<string, string>();
  for (const name of MERGED_LINKS) {
    const path = join(machine, name);
    const stat = await statOrUndefined(path);
    if (stat === undefined) continue;
    const target = stat.isSymbolicLink() ? (await readlink(path)).replace(/^\/+/, "") : "";
    if (!/^usr(?:\/[\w.-]+)+$/.test(target)) {
      throw new CaissonError(
        "unsupported",
        `The image host needs a machine whose /${name} is a link into /usr; this one is not. Import or pull an image instead.`,
      );
    }
    links.set(name, target);
  }
  return links;
}

async function fingerprint(machine: string, links: ReadonlyMap<string, string>): Promise<string> {
  const hash = createHash("sha256");
  hash.update(JSON.stringify([SKELETON_VERSION, process.getuid?.() === 0, [...links], await loginShell(machine)]));
  for (const { path } of COPIED_PATHS) {
    const stat = await statOrUndefined(join(machine, path));
    if (stat !== undefined) hash.update(JSON.stringify([path, stat.ino, stat.size, stat.mtimeMs, stat.mode]));
  }
  return hash.digest("hex").slice(0, 16);
}

async function loginShell(machine: string): Promise<string> {
  return (await statOrUndefined(join(machine, "usr/bin/bash"))) === undefined ? "/bin/sh" : "/bin/bash";
}

async function statOrUndefined(path: string): Promise<Stats | undefined> {
  try {
    return await lstat(path);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}
