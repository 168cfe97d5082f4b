/** How to copy. */
export interface CopyOptions {
  /** As whom in the sandbox. */
  readonly user?: string | undefined;
  /** Mode of a file in the sandbox, in octal digits. */
  readonly mode?: string | undefined;
  readonly json?: true;
  readonly signal: AbortSignal;
}

/** What was copied, and where to. */
export interface Copied {
  readonly path: string;
  /** Files, folders and links. */
  readonly entries: number;
  /** Bytes of all files. */
  readonly bytes: number;
  /** Of one file. */
  readonly sha256?: string;
  /** What was left out, a line for each. */
  readonly left?: readonly string[];
}

/** Whether a folder is named by its content, as `cp -r` has it: `folder/.` */
export function copiesContent(path: string): boolean {
  return path === "." || path.endsWith("/.") || path.endsWith("/./");
}

/** A name in a folder. */
export function join(folder: string, name: string): string {
  return `${folder.replace(/\/+$/, "")}/${name}`;
}
