import type { FileInfo } from "@caisson/contract";
import type { FileEntry } from "@caisson/guest";
import { isoTime } from "../http/iso-time.ts";

/** A file mode as four octal digits. */
export function modeText(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, "0");
}

/** A file system entry as the API shows it. */
export function toFileInfo(entry: FileEntry): FileInfo {
  return {
    path: entry.path,
    name: entry.name,
    type: entry.type,
    size: entry.size,
    mode: modeText(entry.mode),
    uid: entry.uid,
    gid: entry.gid,
    user: entry.user,
    group: entry.group,
    mod_time: isoTime(entry.mtimeMs),
    is_dir: entry.type === "directory",
    ...(entry.target === null ? {} : { target: entry.target }),
    version: entry.version,
  };
}
