import { constants } from "node:fs";
import { open, rename, rm, stat, type FileHandle } from "node:fs/promises";
import { basename, dirname, posix, resolve } from "node:path";
import type { FileInfo, Sandbox } from "@caisson/sdk";
import { usageError } from "../program/cli-error.ts";
import { Progress } from "../terminal/progress.ts";
import { writeOut } from "../terminal/write-out.ts";
import { copiesContent, join, type Copied, type CopyOptions } from "./copy-options.ts";
import { placeTree } from "./place-tree.ts";
import { safeParts } from "./safe-name.ts";
import { unpackTree } from "./unpack-tree.ts";

/** Copies a file or a folder of a sandbox to this machine, or a file to standard output. */
export async function copyOut(sandbox: Sandbox, from: string, to: string, options: CopyOptions): Promise<Copied> {
  const { user, signal } = options;
  if (options.mode !== undefined)
    throw usageError("--mode is for files in a sandbox.", "Out of one a file keeps its mode, without set-id bits.");
  if (to === "-") return printFile(sandbox, from, options);
  const found = await sandbox.files.stat(from, { user, signal, follow: true });
  const folder = await stat(to).then(
    (one) => one.isDirectory(),
    () => false,
  );
  if (!folder && !found.is_dir && to.endsWith("/"))
    throw usageError(`${to} is no folder.`, "Make it first, or name the file without a slash at its end.");
  const inside = folder && !(found.is_dir && copiesContent(from));
  const target = resolve(inside ? join(to, nameOf(from)) : to);
  try {
    return await (found.is_dir ? receiveTree(sandbox, from, target, options) : receiveFile(sandbox, { from, found, target }, options));
  } catch (error) {
    // A stream that was stopped looks like a damaged one.
    throw signal.aborted ? signal.reason : explained(error, target);
  }
}

async function printFile(sandbox: Sandbox, from: string, { user, signal }: CopyOptions): Promise<Copied> {
  let bytes = 0;
  // From an offset a file is read as it is, also while it is being written.
  for await (const chunk of await sandbox.files.readStream(from, { user, signal, offset: 0 })) {
    await writeOut("stdout", chunk);
    bytes += chunk.length;
  }
  return { path: "-", entries: 1, bytes };
}

async function receiveFile(
  sandbox: Sandbox,
  { from, found, target }: { readonly from: string; readonly found: FileInfo; readonly target: string },
  options: CopyOptions,
): Promise<Copied> {
  const { user, signal } = options;
  // Files of the kernel have neither a size nor a digest that holds.
  const verify = found.type === "file" && found.size > 0;
  const { body, size, mode = found.mode } = await sandbox.files.download(from, { user, signal, verify, timeoutMs: 0 });
  using progress = new Progress(basename(target), size, options);
  // Under another name until it is whole, so that a copy that breaks leaves no half a file.
  const partial = join(dirname(target), `.caisson-copy-${process.pid}-${Math.random().toString(36).slice(2)}`);
  const { O_CREAT, O_EXCL, O_WRONLY, O_NOFOLLOW } = constants;
  const file = await open(partial, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, Number.parseInt(mode, 8) & 0o777);
  try {
    const bytes = await fill(file, body, progress);
    await rename(partial, target);
    return { path: target, entries: 1, bytes };
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
}

async function fill(file: FileHandle, body: AsyncIterable<Uint8Array>, progress: Progress): Promise<number> {
  let bytes = 0;
  try {
    for await (const chunk of body) {
      for (let done = 0; done < chunk.length;) done += (await file.write(chunk, done)).bytesWritten;
      bytes += chunk.length;
      progress.reach(bytes);
    }
  } finally {
    await file.close();
  }
  return bytes;
}

async function receiveTree(sandbox: Sandbox, from: string, target: string, options: CopyOptions): Promise<Copied> {
  const { user, signal } = options;
  const archive = await sandbox.files.archive(from, { user, signal });
  using progress = new Progress(basename(target), undefined, options);
  // Where it can be moved from without copying: in the target where that is there, else beside it.
  const beside = await stat(target).then(
    () => target,
    () => dirname(target),
  );
  const tree = await unpackTree(archive, beside, { onBytes: (count) => progress.add(count) });
  try {
    await placeTree(tree.folder, target);
  } finally {
    await rm(tree.folder, { recursive: true, force: true });
  }
  return { path: target, entries: tree.entries, bytes: tree.bytes, left: tree.left };
}

/** The last name of a path in the sandbox, which the person has typed; `..` would lead out of the target. */
function nameOf(path: string): string {
  const name = safeParts(posix.basename(posix.resolve("/", path)))[0];
  if (name === undefined)
    throw usageError(`${path} has no name to copy it under.`, "Name a target that does not exist yet, or copy what is in it: SANDBOX:/.");
  return name;
}

function explained(error: unknown, target: string): unknown {
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (code === undefined || syscall === undefined) return error;
  return usageError(`${target} cannot be written: ${code}.`, "Check the path, and whether you may write there.");
}
