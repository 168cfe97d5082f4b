import { createHash } from "node:crypto";
import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  futimesSync,
  lchownSync,
  linkSync,
  mkdirSync,
  openSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeSync,
} from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { CaissonError, isCaissonError } from "@caisson/contract";
import { extract, type Header } from "tar-stream";
import { syncTree } from "../durable/sync-tree.ts";
import { openArchive } from "./archive-reader.ts";
import { ArchiveTree, refused, type TreeNode } from "./archive-tree.ts";
import type { Content } from "./image-record.ts";

/** Bounds of one archive. */
export interface ArchiveLimits {
  readonly entries: number;
  /** Bytes of all files together, unpacked. */
  readonly bytes: number;
}

export const ARCHIVE_LIMITS: ArchiveLimits = { entries: 1_000_000, bytes: 64 * 1024 ** 3 };

/** What an archive became. */
export interface UnpackedArchive {
  readonly content: Pick<Content, "digest" | "size_bytes" | "owner">;
  /** What was left out, for the log. */
  readonly notes: readonly string[];
}

/**
 * Unpacks a root file system into a folder that does not exist yet and that nobody else writes to. Archives are hostile:
 * every path is checked against the tree built so far, nothing is written through a link, device nodes and pipes are left
 * out, extended attributes are dropped. Ids are kept when we are root, else all becomes our own.
 */
export async function unpackArchive(
  archive: AsyncIterable<Uint8Array>,
  rootfs: string,
  limits: ArchiveLimits,
  signal: AbortSignal,
): Promise<UnpackedArchive> {
  await mkdir(rootfs, { mode: 0o755 });
  const tar = await openArchive(archive);
  const unpack = new Unpacking(rootfs, limits);
  const entries = extract();
  const destroy = (error: Error): void => {
    tar.destroy(error);
    entries.destroy(error);
  };
  const abort = (): void => destroy(signal.reason as Error);
  signal.addEventListener("abort", abort, { once: true });
  try {
    signal.throwIfAborted();
    tar.on("error", destroy);
    tar.pipe(entries);
    for await (const entry of entries) await unpack.take(entry as typeof entry & AsyncIterable<Uint8Array>);
  } catch (error) {
    destroy(error as Error);
    if (signal.aborted) throw signal.reason;
    throw isCaissonError(error) || isSystem(error)
      ? error
      : new CaissonError("invalid_request", "The archive is damaged.", { cause: error });
  } finally {
    signal.removeEventListener("abort", abort);
  }
  const unpacked = unpack.finish();
  await syncTree(rootfs, signal);
  return unpacked;
}

/** One entry of an archive: its header, and its bytes, which must be read or skipped before the next one comes. */
interface ArchiveEntry extends AsyncIterable<Uint8Array> {
  readonly header: Header;
  resume(): unknown;
}

/** One archive being unpacked. Small files are written at once: a thousand awaits each would cost more than the bytes. */
class Unpacking {
  readonly #rootfs: string;
  readonly #limits: ArchiveLimits;
  readonly #tree = new ArchiveTree();
  readonly #isRoot = process.getuid?.() === 0;
  readonly #left = new Map<string, number>();
  #bytes = 0;
  #count = 0;

  constructor(rootfs: string, limits: ArchiveLimits) {
    this.#rootfs = rootfs;
    this.#limits = limits;
    this.#tree.set("", { type: "directory", mode: 0o755, owner: "0:0", mtime: 0 });
  }

  async take(entry: ArchiveEntry): Promise<void> {
    const { header } = entry;
    this.#count += 1;
    if (this.#count > this.#limits.entries)
      throw new CaissonError("payload_too_large", `The archive has more than ${this.#limits.entries} entries.`);
    const path = this.#tree.normalise(header.name);
    switch (header.type) {
      case "directory":
        this.#folder(path, header);
        break;
      case "file":
      case "contiguous-file":
        if (Object.keys(header.pax ?? {}).some((key) => key.startsWith("GNU.sparse."))) throw refused(header.name, "is a sparse file");
        await this.#file(path, header, entry);
        return;
      case "symlink":
        this.#symlink(path, header);
        break;
      case "link":
        this.#link(path, header);
        break;
      case "character-device":
      case "block-device":
      case "fifo":
        this.#left.set(header.type, (this.#left.get(header.type) ?? 0) + 1);
        break;
      default:
        throw refused(header.name, "is of a kind that cannot be unpacked");
    }
    entry.resume();
  }

  finish(): UnpackedArchive {
    if (this.#tree.size === 1) throw new CaissonError("invalid_request", "The archive is empty.");
    for (const [path, node] of this.#tree.folders()) {
      const full = join(this.#rootfs, path);
      // Without root a folder stays ours to change and remove, whatever its mode says.
      chmodSync(full, this.#isRoot ? node.mode : node.mode | 0o700);
      utimesSync(full, node.mtime, node.mtime);
    }
    const notes = [...this.#left].map(([type, count]) => `left ${count} entries of the kind ${type} out of an image`);
    const owner = this.#isRoot ? "root" : "self";
    return { content: { digest: this.#tree.digest(), size_bytes: this.#bytes, owner }, notes };
  }

  #folder(path: string, header: Header): void {
    const before = this.#tree.get(path);
    const full = join(this.#rootfs, path);
    if (before?.type !== "directory") {
      this.#makeWay(path);
      mkdirSync(full, 0o700);
    }
    const node = { type: "directory", ...this.#about(header) } as const;
    if (this.#isRoot) lchownSync(full, header.uid, header.gid);
    this.#tree.set(path, node);
  }

  async #file(path: string, header: Header, bytes: AsyncIterable<Uint8Array>): Promise<void> {
    if (path === "") throw refused(header.name, "would replace the root");
    this.#bytes += header.size;
    if (this.#bytes > this.#limits.bytes)
      throw new CaissonError("payload_too_large", `The archive unpacks to more than ${this.#limits.bytes} bytes.`);
    this.#makeWay(path);
    const hash = createHash("sha256");
    const { O_CREAT, O_EXCL, O_WRONLY, O_NOFOLLOW } = constants;
    const file = openSync(join(this.#rootfs, path), O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, 0o600);
    let size = 0;
    const about = this.#about(header);
    try {
      for await (const chunk of bytes) {
        hash.update(chunk);
        for (let done = 0; done < chunk.byteLength;) done += writeSync(file, chunk, done);
        size += chunk.byteLength;
      }
      if (size !== header.size) throw refused(header.name, "is cut off");
      if (this.#isRoot) fchownSync(file, header.uid, header.gid);
      // What is ours must not lend our rights to others.
      fchmodSync(file, this.#isRoot ? about.mode : about.mode & 0o1777);
      futimesSync(file, about.mtime, about.mtime);
    } finally {
      closeSync(file);
    }
    this.#tree.set(path, { type: "file", ...about, size, sha256: hash.digest("hex") });
  }

  #symlink(path: string, header: Header): void {
    const target = linkTarget(header);
    if (path === "" || target === "" || target.includes("\0") || Buffer.byteLength(target) > 4095)
      throw refused(header.name, "is a link that cannot be made");
    this.#makeWay(path);
    const full = join(this.#rootfs, path);
    symlinkSync(target, full);
    if (this.#isRoot) lchownSync(full, header.uid, header.gid);
    this.#tree.set(path, { type: "symlink", owner: this.#about(header).owner, target });
  }

  #link(path: string, header: Header): void {
    const target = this.#tree.normalise(linkTarget(header));
    this.#tree.missingParents(target);
    const node = this.#tree.get(target);
    if (path === "" || path === target || (node?.type !== "file" && node?.type !== "link"))
      throw refused(header.name, "is a hard link to something that is no file of the archive");
    this.#makeWay(path);
    linkSync(join(this.#rootfs, target), join(this.#rootfs, path));
    this.#tree.set(path, { type: "link", target });
  }

  /** Makes missing parents, and removes what an earlier entry put at this path; a folder is never replaced. */
  #makeWay(path: string): void {
    for (const parent of this.#tree.missingParents(path)) {
      mkdirSync(join(this.#rootfs, parent), 0o700);
      if (this.#tree.size >= this.#limits.entries)
        throw new CaissonError("payload_too_large", `The archive has more than ${this.#limits.entries} entries.`);
      this.#tree.set(parent, { type: "directory", mode: 0o755, owner: "0:0", mtime: 0 });
    }
    const before: TreeNode | undefined = this.#tree.get(path);
    if (before?.type === "directory") throw refused(path, "would replace a folder");
    if (before !== undefined) unlinkSync(join(this.#rootfs, path));
  }

  #about(header: Header): { readonly mode: number; readonly owner: string; readonly mtime: number } {
    const mtime = Math.floor(header.mtime.getTime() / 1000);
    return {
      mode: header.mode & 0o7777,
      owner: `${header.uid}:${header.gid}`,
      mtime: Number.isFinite(mtime) ? mtime : 0,
    };
  }
}

/** The library gives null for a link without a target, against its type. */
function linkTarget(header: { readonly linkname: string | null }): string {
  return header.linkname ?? "";
}

function isSystem(error: unknown): boolean {
  return error instanceof Error && "syscall" in error;
}
