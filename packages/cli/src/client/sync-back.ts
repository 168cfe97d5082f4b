import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { chmod, copyFile, lstat, mkdir, mkdtemp, rename, rm, rmdir, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { CaissonError } from "@caisson/contract";
import { extract, type Header } from "tar-stream";
import { knownFile, type KnownFile, type LocalTree } from "./local-tree.ts";

/** Most that is brought back: what a sandbox sends is not to be trusted. */
const MAX_BYTES = 8 * 1024 ** 3;
const MAX_ENTRIES = 500_000;

/** One thing that was done, or not done, to a local path. */
export interface SyncChange {
  readonly kind: "added" | "modified" | "deleted" | "conflict" | "skipped";
  readonly path: string;
  /** Where the sandbox's version of a conflict was put. */
  readonly keptAs?: string;
}

/** A file that came, not yet in its place. */
interface Arrived extends KnownFile {
  readonly staged: string;
}

/**
 * Brings what changed in a sandbox's copy of a folder back into it, from a tar stream of the copy. Only regular files and
 * folders below `folder` are touched, never through a link; a file that changed here meanwhile stays, and the sandbox's version
 * of it is put beside it. Nothing is touched before the stream came whole.
 */
export async function syncBack(
  folder: string,
  before: LocalTree,
  excluded: readonly string[],
  tar: AsyncIterable<Uint8Array>,
): Promise<SyncChange[]> {
  const staging = await mkdtemp(join(folder, ".caisson-sync-"));
  try {
    const arrived = await receive(tar, staging, excluded);
    const changes: SyncChange[] = arrived.skipped.map((path) => ({ kind: "skipped", path }));
    for (const [path, known] of before.files) {
      if (arrived.files.has(path) || coveredBy(arrived.others, path)) continue;
      if (!(await reachable(folder, path)) || !same(await knownFile(join(folder, path)), known)) changes.push({ kind: "conflict", path });
      else {
        await unlink(join(folder, path));
        changes.push({ kind: "deleted", path });
      }
    }
    for (const path of [...before.folders].toSorted((a, b) => b.length - a.length)) {
      // One that holds something else stays.
      if (!arrived.folders.has(path) && (await reachable(folder, path))) await rmdir(join(folder, path)).catch(() => undefined);
    }
    for (const path of arrived.folders) if (!(await makeFolder(folder, path))) changes.push({ kind: "skipped", path });
    for (const [path, file] of arrived.files) {
      const change = await place(folder, path, file, before.files.get(path));
      if (change !== undefined) changes.push(change);
    }
    return changes.toSorted((a, b) => (a.path < b.path ? -1 : 1));
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}

interface Received {
  readonly files: ReadonlyMap<string, Arrived>;
  readonly folders: ReadonlySet<string>;
  /** Paths of what is neither a file nor a folder: what was there before is left alone. */
  readonly others: ReadonlySet<string>;
  readonly skipped: readonly string[];
}

/** Reads the stream to its end, its files into the staging folder under numbers. */
async function receive(tar: AsyncIterable<Uint8Array>, staging: string, excluded: readonly string[]): Promise<Received> {
  const files = new Map<string, Arrived>();
  const folders = new Set<string>();
  const others = new Set<string>();
  const skipped: string[] = [];
  const archive = extract();
  let bytes = 0;
  let entries = 0;
  const feeding = pipeline(Readable.from(tar), archive as unknown as NodeJS.WritableStream);
  feeding.catch(() => undefined); // told by the iteration
  for await (const entry of archive) {
    const { header } = entry as unknown as { header: Header };
    entries += 1;
    bytes += header.size ?? 0;
    if (entries > MAX_ENTRIES || bytes > MAX_BYTES)
      throw new CaissonError("payload_too_large", "The sandbox's folder is too large to be brought back; nothing was changed here.");
    const path = safePath(header.name, excluded);
    if (path === undefined && isRoot(header.name)) entry.resume();
    else if (path !== undefined && header.type === "directory") {
      folders.add(path);
      entry.resume();
    } else if (path !== undefined && header.type === "file") {
      const staged = join(staging, String(entries));
      const hash = createHash("sha256");
      await pipeline(
        entry as unknown as AsyncIterable<Uint8Array>,
        async function* (source: AsyncIterable<Uint8Array>) {
          for await (const chunk of source) {
            hash.update(chunk);
            yield chunk;
          }
        },
        createWriteStream(staged, { mode: 0o600 }),
      );
      files.set(path, { staged, sha256: hash.digest("hex"), mode: (header.mode ?? 0o644) & 0o777 });
      folders.delete(path);
    } else if (path !== undefined && header.type === "link" && files.has(safePath(header.linkname ?? "", excluded) ?? "")) {
      const first = files.get(safePath(header.linkname ?? "", excluded) ?? "") as Arrived;
      const staged = join(staging, String(entries));
      await copyFile(first.staged, staged);
      files.set(path, { ...first, staged });
      entry.resume();
    } else {
      if (path !== undefined) others.add(path);
      if (path !== undefined || !excluded.some((name) => header.name.split("/").includes(name))) skipped.push(printable(header.name));
      entry.resume();
    }
  }
  await feeding;
  return { files, folders, others, skipped };
}

const isRoot = (name: string): boolean => /^(?:\.?\/?)*$/.test(name);
const printable = (name: string): string => JSON.stringify(name).slice(1, -1);

/** A path below the folder, from a name of the stream; undefined for one that leads anywhere else. */
function safePath(name: string, excluded: readonly string[]): string | undefined {
  if (name.startsWith("/") || name.includes("\0")) return undefined;
  const parts = name.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.length === 0 || parts.some((part) => part === ".." || excluded.includes(part) || part.startsWith(".caisson-sync-")))
    return undefined;
  return parts.join("/");
}

/** Whether a path or one above it is in the set. */
function coveredBy(paths: ReadonlySet<string>, path: string): boolean {
  return path.split("/").some((_part, depth, parts) => paths.has(parts.slice(0, depth + 1).join("/")));
}

/** Whether every folder above a path is a real one here, and no link. */
async function reachable(folder: string, path: string): Promise<boolean> {
  const above = path.split("/").slice(0, -1);
  for (let depth = 1; depth <= above.length; depth += 1) {
    const found = await lstat(join(folder, ...above.slice(0, depth))).catch(() => undefined);
    if (found?.isDirectory() !== true) return false;
  }
  return true;
}

/** Makes a folder and those above it; false when something else is in the way. */
async function makeFolder(folder: string, path: string): Promise<boolean> {
  if (dirname(path) !== "." && !(await makeFolder(folder, dirname(path)))) return false;
  const here = join(folder, path);
  const found = await lstat(here).catch(() => undefined);
  if (found === undefined) await mkdir(here);
  return found === undefined || found.isDirectory();
}

function same(one: KnownFile | undefined, other: KnownFile | undefined): boolean {
  return one?.sha256 === other?.sha256 && ((one?.mode ?? 0) & 0o100) === ((other?.mode ?? 0) & 0o100);
}

/** Puts one file where it belongs, if it is another than the one that was sent. */
async function place(folder: string, path: string, file: Arrived, sent: KnownFile | undefined): Promise<SyncChange | undefined> {
  if (same(file, sent)) return undefined;
  if (dirname(path) !== "." && !(await makeFolder(folder, dirname(path)))) return { kind: "skipped", path };
  const here = join(folder, path);
  const present = await lstat(here).catch(() => undefined);
  const now = await knownFile(here);
  await chmod(file.staged, file.mode | 0o600);
  if (present === undefined ? sent === undefined : now !== undefined && same(now, sent)) {
    await rename(file.staged, here);
    return { kind: sent === undefined ? "added" : "modified", path };
  }
  if (now !== undefined && same(now, file)) return undefined; // the same was done here
  const keptAs = await freeName(folder, `${path}.sandbox`);
  await rename(file.staged, join(folder, keptAs));
  return { kind: "conflict", path, keptAs };
}

async function freeName(folder: string, path: string): Promise<string> {
  for (let number = 1; ; number += 1) {
    const name = number === 1 ? path : `${path}.${number}`;
    if ((await lstat(join(folder, name)).catch(() => undefined)) === undefined) return name;
  }
}
