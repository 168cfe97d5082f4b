import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

const ROOT = new URL("../..", import.meta.url).pathname;

interface Manifest {
  readonly dependencies?: Record<string, string>;
  readonly optionalDependencies?: Record<string, string>;
}

/** Folders of packages and of all that they need, as they are installed here. */
export function packageTree(names: readonly string[]): string[] {
  const found = new Set<string>();
  const add = (name: string, from: string): void => {
    const nested = join(from, "node_modules", name);
    const folder = existsSync(join(ROOT, nested)) ? nested : join("node_modules", name);
    if (found.has(folder) || !existsSync(join(ROOT, folder, "package.json"))) return;
    found.add(folder);
    const manifest = JSON.parse(readFileSync(join(ROOT, folder, "package.json"), "utf8")) as Manifest;
    for (const one of Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies })) add(one, folder);
  };
  for (const name of names) add(name, "");
  return [...found];
}

/** A tar stream of these folders, with the names that they have here. */
export function tarOf(folders: readonly string[]): AsyncIterable<Buffer> {
  return spawn("tar", ["-C", ROOT, "-cf", "-", ...folders], { stdio: ["ignore", "pipe", "inherit"] }).stdout;
}
