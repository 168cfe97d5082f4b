import { createReadStream } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { basename, resolve } from "node:path";
import { CaissonApiError, type Sandbox } from "@caisson/sdk";
import { packFolder } from "../client/pack-folder.ts";
import { usageError } from "../program/cli-error.ts";
import { Progress } from "../terminal/progress.ts";
import { copiesContent, join, type Copied, type CopyOptions } from "./copy-options.ts";

/** Up to this size a file is sent in one request, in bytes; larger ones resume after breaks. */
const SMALL = 4_194_304;

/** Copies a file, a folder or standard input into a sandbox. */
export async function copyIn(sandbox: Sandbox, from: string, to: string, options: CopyOptions): Promise<Copied> {
  if (from === "-") return sendStream(sandbox, to, options);
  const found = await stat(from).catch((error: NodeJS.ErrnoException) => {
    throw usageError(`${from} cannot be read: ${error.code ?? error.message}.`, "Check the path.");
  });
  if (found.isDirectory()) return sendFolder(sandbox, from, to, options);
  const folder = to.endsWith("/") || (await isFolder(sandbox, to, options));
  const path = folder ? join(to, basename(resolve(from))) : to;
  const mode = options.mode ?? (found.mode & 0o777).toString(8).padStart(4, "0");
  const { user, signal } = options;
  if (found.isFile() && found.size <= SMALL) {
    const { sha256, size } = await sandbox.files.write(path, await readFile(from), { user, mode, signal });
    return { path, entries: 1, bytes: size, sha256 };
  }
  using progress = new Progress(basename(path), found.isFile() ? found.size : undefined, options);
  const { sha256, size } = await sandbox.files.upload(path, createReadStream(from), {
    user,
    mode,
    signal,
    ...(found.isFile() ? { size: found.size } : {}),
    onProgress: ({ sent }) => progress.reach(sent),
  });
  return { path, entries: 1, bytes: size, sha256 };
}

async function sendStream(sandbox: Sandbox, to: string, options: CopyOptions): Promise<Copied> {
  if (to.endsWith("/")) throw usageError("Standard input has no name.", "Name the file, not only its folder.");
  const { user, mode, signal } = options;
  using progress = new Progress(basename(to), undefined, options);
  const onProgress = ({ sent }: { readonly sent: number }): void => progress.reach(sent);
  const { sha256, size } = await sandbox.files.upload(to, process.stdin, { user, mode, signal, onProgress });
  return { path: to, entries: 1, bytes: size, sha256 };
}

async function sendFolder(sandbox: Sandbox, from: string, to: string, options: CopyOptions): Promise<Copied> {
  if (options.mode !== undefined)
    throw usageError("--mode is for one file.", "The files of a folder keep their modes; change them with: caisson exec SANDBOX -- chmod");
  const inside = !copiesContent(from) && (await isFolder(sandbox, to, options));
  const path = inside ? join(to, basename(resolve(from))) : to.replace(/(?<=.)\/+$/, "");
  const { user, signal } = options;
  using progress = new Progress(basename(path), undefined, options);
  const { entries, bytes } = await sandbox.files.extract(path, counted(packFolder(from), progress), { user, signal });
  return { path, entries, bytes };
}

async function* counted(source: AsyncIterable<Uint8Array>, progress: Progress): AsyncGenerator<Uint8Array> {
  for await (const bytes of source) {
    progress.add(bytes.length);
    yield bytes;
  }
}

async function isFolder(sandbox: Sandbox, path: string, { user, signal }: CopyOptions): Promise<boolean> {
  try {
    return (await sandbox.files.stat(path, { user, signal, follow: true })).is_dir;
  } catch (error) {
    if (error instanceof CaissonApiError && error.code === "file_not_found") return false;
    throw error;
  }
}
