import type { Stats } from "node:fs";
import * as fs from "node:fs/promises";
import { basename, join, matchesGlob } from "node:path";
import { Readable } from "node:stream";
import { CaissonError, type ErrorCode } from "@caisson/contract";
import type { FileEntry, Guest } from "@caisson/guest";

type FileMethods = Pick<Guest, "readFile" | "writeFile" | "stat" | "listDir" | "glob" | "makeDir" | "move" | "remove" | "chmod" | "chown">;

const CODES: Readonly<Record<string, ErrorCode>> = {
  ENOENT: "file_not_found",
  EEXIST: "already_exists",
  EACCES: "permission_denied",
  EPERM: "permission_denied",
  ENOTDIR: "not_a_directory",
  EISDIR: "is_a_directory",
  ERR_FS_EISDIR: "is_a_directory",
  ENOTEMPTY: "not_empty",
};

/** The file methods of a guest over a folder of this machine. */
export function localFiles(root: string): FileMethods {
  const real = (path: string): string => join(root, path);
  const entryOf = async (path: string, follow: "follow" | "no-follow"): Promise<FileEntry> => {
    const stat = await known(path, follow === "follow" ? fs.stat(real(path)) : fs.lstat(real(path)));
    return {
      path,
      name: basename(path),
      type: typeOf(stat),
      size: stat.size,
      mode: stat.mode & 0o7777,
      uid: stat.uid,
      gid: stat.gid,
      user: null,
      group: null,
      mtimeMs: stat.mtimeMs,
      version: `${stat.ino}-${stat.size}-${Math.floor(stat.ctimeMs * 1000)}`,
      target: stat.isSymbolicLink() ? await fs.readlink(real(path)) : null,
    };
  };
  async function* walk(path: string, depth: number): AsyncGenerator<FileEntry> {
    const names = await known(path, fs.readdir(real(path)));
    for (const name of names.toSorted()) {
      const entry = await entryOf(join(path, name), "no-follow");
      yield entry;
      if (entry.type === "directory" && depth > 1) yield* walk(entry.path, depth - 1);
    }
  }
  return {
    readFile: async (path, options = {}) => {
      const entry = await entryOf(path, "follow");
      if (entry.type === "directory") throw new CaissonError("is_a_directory", `${path} is a directory.`);
      const handle = await known(path, fs.open(real(path), "r"));
      const { offset = 0, length = Infinity, signal } = options;
      if (length === 0) await handle.close();
      const content = length === 0 ? Readable.from([]) : handle.createReadStream({ start: offset, end: offset + length - 1 });
      signal?.addEventListener("abort", () => content.destroy(), { once: true });
      return { entry, content };
    },
    writeFile: async (path, content, options = {}) => {
      await fs.mkdir(join(real(path), ".."), { recursive: true });
      if (options.offset !== undefined) {
        const handle = await known(path, fs.open(real(path), "r+"));
        let at = options.offset;
        for await (const bytes of content) at += (await handle.write(bytes, 0, bytes.length, at)).bytesWritten;
        await handle.close();
        return entryOf(path, "follow");
      }
      const temporary = `${real(path)}.tmp`;
      try {
        await known(path, fs.writeFile(temporary, content, { mode: options.mode ?? 0o644 }));
        await known(path, fs.rename(temporary, real(path)));
      } catch (error) {
        await fs.rm(temporary, { force: true });
        throw error;
      }
      return entryOf(path, "follow");
    },
    stat: (path, options = {}) => entryOf(path, options.follow === true ? "follow" : "no-follow"),
    listDir: (path, options = {}) => walk(path, options.depth ?? 1),
    glob: async function* (pattern, options = {}) {
      let count = 0;
      for await (const entry of walk(options.cwd ?? "/", 64)) {
        if (!matchesGlob(entry.path, join(options.cwd ?? "/", pattern))) continue;
        if (count === (options.limit ?? 10_000)) return { truncated: true };
        count += 1;
        yield entry;
      }
      return { truncated: false };
    },
    makeDir: async (path, options = {}) => {
      const made = await known(path, fs.mkdir(real(path), { recursive: options.parents !== false, mode: options.mode ?? 0o755 }));
      return options.parents === false || made !== undefined;
    },
    move: async (from, to, options = {}) => {
      if (options.overwrite === false && (await fs.stat(real(to)).catch(() => undefined)) !== undefined)
        throw new CaissonError("already_exists", `${to} is there already.`);
      await known(from, fs.rename(real(from), real(to)));
    },
    remove: (path, options = {}) => known(path, options.recursive === true ? fs.rm(real(path), { recursive: true }) : fs.rm(real(path))),
    chmod: (path, mode) => known(path, fs.chmod(real(path), mode)),
    chown: (path, owner) => known(path, fs.chown(real(path), ...ids(owner))),
  };
}

function ids(owner: string): [number, number] {
  const [uid = "", gid = "-1"] = owner.split(":");
  if (!/^\d+$/.test(uid)) throw new CaissonError("no_such_user", `There is no user ${uid}.`);
  return [Number(uid), Number(gid)];
}

function typeOf(stat: Stats): FileEntry["type"] {
  if (stat.isFile()) return "file";
  if (stat.isDirectory()) return "directory";
  if (stat.isSymbolicLink()) return "symlink";
  if (stat.isFIFO()) return "fifo";
  return stat.isSocket() ? "socket" : stat.isBlockDevice() ? "block" : "char";
}

async function known<T>(path: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    const code = CODES[(error as NodeJS.ErrnoException).code ?? ""];
    throw code === undefined ? error : new CaissonError(code, `${path}: ${code}.`, { cause: error });
  }
}
