import type { FileNode } from "./mock-node.ts";
import type { ByteSink, ByteSource, ShellState } from "./shell-state.ts";

const CHUNK = 65_536;

/** Takes everything and keeps nothing. */
export const NULL_SINK: ByteSink = { write: () => Promise.resolve(true) };
/** Has nothing. */
export const NULL_SOURCE: ByteSource = { read: () => Promise.resolve(undefined), unread: () => undefined };

/** Writes into a file of the box. */
export class FileSink implements ByteSink {
  readonly #file: FileNode;
  readonly #mode: "append" | "truncate";
  #offset = 0;

  constructor(state: ShellState, path: string, mode: "append" | "truncate") {
    this.#file = state.files.open(path, state.user, { create: 0o644 });
    this.#mode = mode;
    if (mode === "truncate") this.#file.content.clear();
  }

  write(bytes: Uint8Array): Promise<boolean> {
    const at = this.#mode === "append" ? this.#file.content.size : this.#offset;
    this.#file.content.writeAt(at, bytes);
    this.#offset = at + bytes.length;
    return Promise.resolve(true);
  }
}

/** Reads a file of the box from its start. */
export function fileSource(state: ShellState, path: string): ByteSource {
  const { content } = state.files.open(path, state.user);
  const back: Uint8Array[] = [];
  let offset = 0;
  return {
    read: () => {
      const again = back.pop();
      if (again !== undefined) return Promise.resolve(again);
      const bytes = Uint8Array.from(content.view(offset, offset + CHUNK));
      offset += bytes.length;
      return Promise.resolve(bytes.length === 0 ? undefined : bytes);
    },
    unread: (bytes) => void (bytes.length > 0 && back.push(bytes)),
  };
}
