import {
  chmodSync,
  closeSync,
  constants,
  futimesSync,
  linkSync,
  mkdirSync,
  openSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeSync,
} from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { CaissonError, isCaissonError } from "@caisson/contract";
import { extract, type Header } from "tar-stream";
import { refused, safeParts, staysInside } from "./safe-name.ts";

/** What a sandbox may send at most in one tree. */
export interface TreeLimits {
  readonly entries: number;
  /** Bytes of all files together. */
  readonly bytes: number;
}

export const TREE_LIMITS: TreeLimits = { entries: 1_000_000, bytes: 64 * 1024 ** 3 };

/** Most lines of what was left out. */
const MAX_LEFT = 1_000;

/** A tree as it was unpacked. */
export interface UnpackedTree {
  /** The folder that holds it: ours alone, to be moved where it belongs. */
  readonly folder: string;
  readonly entries: number;
  readonly bytes: number;
  /** What was left out, a line for each of the first thousand. */
  readonly left: readonly string[];
}

/** How a tree is unpacked. */
export interface UnpackOptions {
  readonly limits?: TreeLimits;
  /** Told of the bytes of files as they are written. */
  readonly onBytes?: (count: number) => void;
}

/**
 * Unpacks a tar stream of a sandbox into a new folder in `parent`. The stream is hostile. Nothing is written outside of
 * that folder: it is fresh, nobody else writes to it, every name is checked, and no name may lead through anything but
 * folders that this has made. Symlinks that lead out of the tree, devices, pipes and sockets are left out and told;
 * set-id bits and owners are dropped. On any failure the folder is gone.
 */
export async function unpackTree(archive: AsyncIterable<Uint8Array>, parent: string, options: UnpackOptions = {}): Promise<UnpackedTree> {
  const folder = await mkdtemp(join(parent, ".caisson-copy-"));
  try {
    const tree = new Unpacking(folder, options);
    const entries = extract();
    await Promise.all([
      pipeline(Readable.from(archive, { objectMode: false }), entries as unknown as NodeJS.WritableStream),
      (async () => {
        try {
          for await (const entry of entries) await tree.take(entry as typeof entry & AsyncIterable<Uint8Array>);
        } catch (error) {
          entries.destroy(error as Error);
          throw error;
        }
      })(),
    ]);
    return { folder, ...tree.finish() };
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw isCaissonError(error) || isSystem(error)
      ? error
      : new CaissonError("protocol_error", "The sandbox sent a damaged archive.", { cause: error });
  }
}

/** One entry of an archive: its bytes must be read or skipped before the next one comes. */
interface ArchiveEntry extends AsyncIterable<Uint8Array> {
  readonly header: Header;
  resume(): unknown;
}

type Kind = "folder" | "file" | "symlink";

class Unpacking {
  readonly #folder: string;
  readonly #limits: TreeLimits;
  readonly #onBytes: (count: number) => void;
  /** What this has made, by path. The disk is not asked: all of it is ours. */
  readonly #made = new Map<string, Kind>([["", "folder"]]);
  readonly #folders = new Map<string, { readonly mode: number; readonly mtime: Date }>([["", { mode: 0o755, mtime: new Date() }]]);
  readonly #left: string[] = [];
  #entries = 0;
  #bytes = 0;

  constructor(folder: string, { limits = TREE_LIMITS, onBytes = () => undefined }: UnpackOptions) {
    this.#folder = folder;
    this.#limits = limits;
    this.#onBytes = onBytes;
  }

  async take(entry: ArchiveEntry): Promise<void> {
    const { header } = entry;
    this.#count();
    const parts = safeParts(header.name);
    const path = parts.join("/");
    switch (header.type) {
      case "directory":
        this.#makeFolders(header.name, parts);
        this.#folders.set(path, { mode: modeOf(header), mtime: header.mtime });
        break;
      case "file":
      case "contiguous-file":
        await this.#file(path, parts, entry);
        return;
      case "symlink":
        this.#symlink(path, parts, header);
        break;
      case "link":
        this.#link(path, parts, header);
        break;
      default:
        this.#leave(`${header.name}: a ${header.type ?? "thing of an unknown kind"}`);
    }
    entry.resume();
  }

  finish(): Pick<UnpackedTree, "entries" | "bytes" | "left"> {
    // Innermost first: a folder's time changes with what is made in it.
    for (const [path, { mode, mtime }] of [...this.#folders].sort(([a], [b]) => (a < b ? 1 : -1))) {
      const full = join(this.#folder, path);
      chmodSync(full, (mode | 0o700) & ~process.umask());
      utimesSync(full, ...timesOf(mtime));
    }
    return { entries: this.#entries, bytes: this.#bytes, left: this.#left };
  }

  #leave(line: string): void {
    if (this.#left.length < MAX_LEFT) this.#left.push(line);
    else if (this.#left.length === MAX_LEFT) this.#left.push("and others, which are not told");
  }

  #count(): void {
    this.#entries += 1;
    if (this.#entries > this.#limits.entries)
      throw new CaissonError("payload_too_large", `The sandbox sent more than ${this.#limits.entries} entries.`);
  }

  async #file(path: string, parts: readonly string[], entry: ArchiveEntry): Promise<void> {
    const { header } = entry;
    if (this.#bytes + (header.size ?? 0) > this.#limits.bytes)
      throw new CaissonError("payload_too_large", `The sandbox sent more than ${this.#limits.bytes} bytes.`);
    this.#makeWay(header.name, path, parts);
    const { O_CREAT, O_EXCL, O_WRONLY, O_NOFOLLOW } = constants;
    const file = openSync(join(this.#folder, path), O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, modeOf(header));
    let size = 0;
    try {
      for await (const chunk of entry) {
        for (let done = 0; done < chunk.byteLength;) done += writeSync(file, chunk, done);
        size += chunk.byteLength;
        this.#onBytes(chunk.byteLength);
      }
      if (size !== header.size) throw refused(header.name, "is cut off");
      futimesSync(file, ...timesOf(header.mtime));
    } finally {
      closeSync(file);
    }
    this.#bytes += size;
    this.#made.set(path, "file");
  }

  #symlink(path: string, parts: readonly string[], { name, linkname }: Header): void {
    const target = linkname ?? "";
    if (!staysInside(target, parts.length - 1)) {
      this.#leave(`${name}: a link out of the copy, to ${target}`);
      return;
    }
    this.#makeWay(name, path, parts);
    symlinkSync(target, join(this.#folder, path));
    this.#made.set(path, "symlink");
  }

  #link(path: string, parts: readonly string[], { name, linkname }: Header): void {
    const target = safeParts(linkname ?? "");
    const source = target.join("/");
    if (this.#made.get(source) !== "file" || source === path)
      throw refused(name, "is a hard link to something that is no file of the tree");
    this.#makeWay(name, path, parts);
    linkSync(join(this.#folder, source), join(this.#folder, path));
    this.#made.set(path, "file");
  }

  /** Makes the folders above a path, and takes away what an earlier entry put at it; a folder is never replaced. */
  #makeWay(name: string, path: string, parts: readonly string[]): void {
    if (path === "") throw refused(name, "would replace the folder itself");
    this.#makeFolders(name, parts.slice(0, -1));
    const before = this.#made.get(path);
    if (before === "folder") throw refused(name, "would replace a folder");
    if (before !== undefined) unlinkSync(join(this.#folder, path));
  }

  #makeFolders(name: string, parts: readonly string[]): void {
    for (let depth = 1; depth <= parts.length; depth += 1) {
      const path = parts.slice(0, depth).join("/");
      const before = this.#made.get(path);
      if (before === "folder") continue;
      if (before !== undefined) throw refused(name, `leads through ${JSON.stringify(path)}, which is a ${before}`);
      this.#count();
      mkdirSync(join(this.#folder, path), 0o700);
      this.#made.set(path, "folder");
      this.#folders.set(path, { mode: 0o755, mtime: new Date() });
    }
  }
}

/** Without set-id and sticky bits. */
function modeOf(header: Header): number {
  return (header.mode ?? 0o644) & 0o777;
}

/** Access and modification time, in seconds; what no file can have becomes the epoch. */
function timesOf(mtime: Date | undefined): [number, number] {
  const seconds = Math.floor((mtime?.getTime() ?? 0) / 1000);
  const kept = Number.isFinite(seconds) && Math.abs(seconds) < 2 ** 33 ? seconds : 0;
  return [kept, kept];
}

function isSystem(error: unknown): boolean {
  return error instanceof Error && "syscall" in error;
}
