/** Bytes of a file that grow without copying them each time. */
export class FileContent {
  #bytes = Buffer.alloc(0);
  size = 0;
  /** Counts the changes. */
  revision = 0;
  /** Told of every change. */
  onChange: () => void = () => undefined;

  /** What is there now; a view. */
  view(from: number = 0, to: number = this.size): Buffer {
    return this.#bytes.subarray(Math.min(from, this.size), Math.min(to, this.size));
  }

  writeAt(offset: number, bytes: Uint8Array): void {
    const end = offset + bytes.length;
    if (end > this.#bytes.length) {
      const grown = Buffer.alloc(Math.max(end, this.#bytes.length * 2, 64));
      this.#bytes.copy(grown, 0, 0, this.size);
      this.#bytes = grown;
    }
    this.#bytes.set(bytes, offset);
    this.size = Math.max(this.size, end);
    this.revision++;
    this.onChange();
  }

  clear(): void {
    this.#bytes = Buffer.alloc(0);
    this.size = 0;
    this.revision++;
    this.onChange();
  }
}

interface NodeBase {
  mode: number;
  uid: number;
  gid: number;
  mtimeMs: number;
  /** Extended attributes. */
  readonly xattrs: Map<string, Uint8Array>;
  /** Counts the changes of owner, mode and attributes. */
  revision: number;
}
export interface FileNode extends NodeBase {
  readonly type: "file";
  readonly content: FileContent;
}
export interface DirectoryNode extends NodeBase {
  readonly type: "directory";
  readonly children: Map<string, MockNode>;
}
export interface SymlinkNode extends NodeBase {
  readonly type: "symlink";
  readonly target: string;
}
/** One thing in a mock file tree. */
export type MockNode = FileNode | DirectoryNode | SymlinkNode;
