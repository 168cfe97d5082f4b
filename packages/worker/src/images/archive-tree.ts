import { createHash } from "node:crypto";
import { CaissonError } from "@caisson/contract";

/** Something an archive made, and what its digest is made from. */
export type TreeNode =
  | { readonly type: "directory"; readonly mode: number; readonly owner: string; readonly mtime: number }
  | {
      readonly type: "file";
      readonly mode: number;
      readonly owner: string;
      readonly mtime: number;
      readonly size: number;
      readonly sha256: string;
    }
  | { readonly type: "symlink"; readonly owner: string; readonly target: string }
  | { readonly type: "link"; readonly target: string };

const MAX_PATH = 4096;
const MAX_NAME = 255;

/**
 * The tree an archive has built so far, by path relative to its root (`""` is the root itself). Because all of it was made
 * by us in a folder of our own, it tells without asking the disk whether a path leads through a symbolic link.
 */
export class ArchiveTree {
  readonly #nodes = new Map<string, TreeNode>();

  /** A path of the archive in its normal form. Refuses all that could lead out of the tree. */
  normalise(path: string): string {
    const parts = path.split("/").filter((part) => part !== "" && part !== ".");
    for (const part of parts) {
      if (part === "..") throw refused(path, "has a .. in it");
      if (Buffer.byteLength(part) > MAX_NAME) throw refused(path, "has a name that is too long");
    }
    const normal = parts.join("/");
    if (normal.includes("\0") || normal.includes("\uFFFD")) throw refused(path, "is not UTF-8 without NUL");
    if (Buffer.byteLength(normal) > MAX_PATH) throw refused(path, "is too long");
    return normal;
  }

  get(path: string): TreeNode | undefined {
    return this.#nodes.get(path);
  }

  set(path: string, node: TreeNode): void {
    this.#nodes.set(path, node);
  }

  /** Folders on the way to a path that are still missing, outermost first; refuses a way through anything but folders. */
  missingParents(path: string): readonly string[] {
    const missing: string[] = [];
    for (let slash = path.indexOf("/"); slash >= 0; slash = path.indexOf("/", slash + 1)) {
      const parent = path.slice(0, slash);
      const node = this.#nodes.get(parent);
      if (node === undefined) missing.push(parent);
      else if (node.type !== "directory") throw refused(path, `leads through ${parent}, which is no folder but a ${node.type}`);
    }
    return missing;
  }

  get size(): number {
    return this.#nodes.size;
  }

  /** Folders, innermost first. */
  folders(): readonly (readonly [string, Extract<TreeNode, { type: "directory" }>])[] {
    const folders: (readonly [string, Extract<TreeNode, { type: "directory" }>])[] = [];
    for (const [path, node] of this.#nodes) if (node.type === "directory") folders.push([path, node]);
    return folders.sort(([a], [b]) => (a < b ? 1 : -1));
  }

  /** Digest of the whole: the same tree gives the same, in whatever order and packing it came. */
  digest(): string {
    const hash = createHash("sha256");
    const sorted = [...this.#nodes].sort(([a], [b]) => (a < b ? -1 : 1));
    for (const [path, node] of sorted)
      hash.update(JSON.stringify([path, ...Object.entries(node).sort(([a], [b]) => (a < b ? -1 : 1)), "\n"]));
    return `sha256:${hash.digest("hex")}`;
  }
}

/** An entry of an archive that is not let in. */
export function refused(path: string, why: string): CaissonError {
  return new CaissonError("invalid_request", `The archive holds ${JSON.stringify(path.slice(0, 200))}, which ${why}.`);
}
