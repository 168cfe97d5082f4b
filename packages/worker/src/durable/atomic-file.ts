import { randomBytes } from "node:crypto";
import { closeSync, fsync, open, rename, writeFile } from "node:fs";
import { open as openHandle, readdir, readFile, rm, type FileHandle } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { promisify } from "node:util";
import { isMissing } from "./file-error.ts";

/*
 * Descriptors rather than file handles, each of which costs more than the write itself. They are closed on the spot: that waits
 * for no disk, and has a thread woken for nothing otherwise.
 */
const openFile = promisify(open);
const writeAll = promisify(writeFile);
const syncFile = promisify(fsync);
const renameFile = promisify(rename);

/** Ending of files that are being written; what carries it after a crash is refuse. */
const UNFINISHED = ".unfinished";

/** What no other process has in the names of its unfinished files. */
const RUN = randomBytes(6).toString("hex");
let written = 0;

/**
 * Replaces a file as a whole: after a crash there is the old text or the new one, on disk when this resolves. Mode 0600. `folder`
 * is the one the file is in, for whoever has it open anyway.
 */
export async function writeAtomic(path: string, text: string, folder?: OpenFolder): Promise<void> {
  await replace(path, text, syncFile);
  await (folder === undefined ? syncFolder(dirname(path)) : folder.sync());
}

/**
 * Replaces a file as a whole for every process that looks from now on, also after a crash of this one. A crash of the machine
 * may lose the new text, or leave a file without any. Mode 0600.
 */
export async function writeVisible(path: string, text: string): Promise<void> {
  await replace(path, text, () => Promise.resolve());
}

async function replace(path: string, text: string, settle: (file: number) => Promise<void>): Promise<void> {
  const unfinished = join(dirname(path), `.${basename(path)}.${RUN}${(written += 1)}${UNFINISHED}`);
  try {
    const file = await openFile(unfinished, "wx", 0o600);
    try {
      await writeAll(file, text);
      await settle(file);
    } finally {
      closeSync(file);
    }
    await renameFile(unfinished, path);
  } catch (error) {
    await rm(unfinished, { force: true });
    throw error;
  }
}

/**
 * Adds a text to the end of a file for every process that looks from now on, also after a crash of this one. A crash of the
 * machine may lose it or leave a part of it; what was on disk before it stays.
 */
export async function appendVisible(path: string, text: string): Promise<void> {
  const file = await openFile(path, "a", 0o600);
  try {
    await writeAll(file, text);
  } finally {
    closeSync(file);
  }
}

/** Removes a file so that it stays removed after a crash. Missing is fine. */
export async function removeDurably(path: string): Promise<void> {
  await rm(path, { force: true });
  await syncFolder(dirname(path));
}

/** Text of a file; undefined when there is none. */
export async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** Removes files that a crash left unfinished in a folder; returns how many. */
export async function removeUnfinished(folder: string): Promise<number> {
  let removed = 0;
  for (const name of await readdir(folder)) {
    if (!name.endsWith(UNFINISHED)) continue;
    await rm(join(folder, name), { force: true });
    removed += 1;
  }
  return removed;
}

/** Puts names of a folder (a rename, a removal) on disk. */
export async function syncFolder(path: string): Promise<void> {
  await using folder = await OpenFolder.open(path);
  await folder.sync();
}

/** A folder that is open, so that each of many renames is put on disk by one call of the system. */
export class OpenFolder implements AsyncDisposable {
  readonly #path: string;
  /** Undefined once it is closed. Unlike a bare descriptor it stays open while a call of the system has it. */
  #handle: FileHandle | undefined;

  private constructor(path: string, handle: FileHandle) {
    this.#path = path;
    this.#handle = handle;
  }

  static async open(path: string): Promise<OpenFolder> {
    return new OpenFolder(path, await openHandle(path, "r"));
  }

  /** Puts the names in it on disk, also when it was closed meanwhile. */
  sync(): Promise<void> {
    return this.#handle === undefined ? syncFolder(this.#path) : this.#handle.sync();
  }

  /** Closes it when nobody syncs it any more. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    await handle?.close();
  }
}
