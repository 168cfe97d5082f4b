import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, symlink } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const ROOT = new URL("../..", import.meta.url).pathname;
const run = promisify(execFile);

/** The release before this one. */
export interface PreviousRelease {
  readonly version: string;
  readonly commit: string;
}

/** What tests/skew/previous-release.json names. */
export async function previousRelease(): Promise<PreviousRelease> {
  return JSON.parse(await readFile(join(ROOT, "tests/skew/previous-release.json"), "utf8")) as PreviousRelease;
}

/** Why a release cannot be had from this clone; undefined when it can. */
export async function missing({ commit }: PreviousRelease): Promise<string | undefined> {
  try {
    await run("git", ["-C", ROOT, "cat-file", "-e", `${commit}^{commit}`]);
    return undefined;
  } catch {
    return `the commit ${commit} of the previous release is not in this clone: fetch its history with git fetch --unshallow`;
  }
}

/**
 * The path of a release's `caisson` command: its sources from the history, its agent built from them, third-party packages
 * those of this checkout. Kept in `.caisson/releases`, so that only the first call takes its time.
 */
export async function unpackRelease({ commit }: PreviousRelease): Promise<string> {
  const folder = join(ROOT, ".caisson/releases", commit);
  const command = join(folder, "packages/cli/bin/caisson.mjs");
  if (await exists(command)) return command;
  await mkdir(join(ROOT, ".caisson/releases"), { recursive: true });
  const making = await mkdtemp(join(ROOT, ".caisson/releases/making-"));
  try {
    await unpack(commit, making);
    await linkPackages(making);
    await agentOf(commit, making);
    await rename(making, folder).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOTEMPTY" && error.code !== "EEXIST") throw error; // another test was first
    });
  } finally {
    await rm(making, { recursive: true, force: true });
  }
  return command;
}

async function unpack(commit: string, folder: string): Promise<void> {
  // By way of a file: tar stops reading where the archive ends, before the padding that git still writes.
  const archive = `${folder}.tar`;
  try {
    await run("git", ["-C", ROOT, "archive", "-o", archive, commit]);
    await run("tar", ["-xf", archive, "-C", folder]);
  } finally {
    await rm(archive, { force: true });
  }
}

/** Third-party packages of this checkout, and the release's own, by links that hold when the folder is renamed. */
async function linkPackages(folder: string): Promise<void> {
  const modules = join(folder, "node_modules");
  await mkdir(join(modules, "@caisson"), { recursive: true });
  for (const name of await readdir(join(ROOT, "node_modules")))
    if (name !== "@caisson" && name !== ".cache") await symlink(join(ROOT, "node_modules", name), join(modules, name));
  for (const name of await readdir(join(folder, "packages"))) await symlink(join("../../packages", name), join(modules, "@caisson", name));
}

/** The release's agent: this checkout's where its sources are the same, else built from them. */
async function agentOf(commit: string, folder: string): Promise<void> {
  const same = await run("git", ["-C", ROOT, "diff", "--quiet", commit, "--", "agent/src"]).then(
    () => true,
    () => false,
  );
  if (same) await symlink(join(ROOT, "agent/target"), join(folder, "agent/target"));
  else await run(join(folder, "scripts/build-agent.sh"), [], { cwd: folder, maxBuffer: 16_777_216 });
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
