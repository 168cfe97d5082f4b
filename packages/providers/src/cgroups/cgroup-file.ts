import { openSync, closeSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";

/** Whether an error carries one of these system codes. */
export function hasSystemCode(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && "code" in error && codes.includes(String(error.code));
}

/** Writes a value to a file of a group in one system call, as the kernel wants it. */
export function writeCgroupFile(group: string, file: string, value: string): void {
  const fd = openSync(join(group, file), "r+");
  try {
    writeSync(fd, value);
  } finally {
    closeSync(fd);
  }
}

/** The text of a file of a group; undefined when the group or the file is not there. */
export function readCgroupFile(group: string, file: string): string | undefined {
  try {
    return readFileSync(join(group, file), "utf8").trim();
  } catch (error) {
    if (hasSystemCode(error, "ENOENT", "ENODEV", "ENOTDIR")) return undefined;
    throw error;
  }
}

/** A number from a file of a group; undefined when there is none. */
export function readCgroupNumber(group: string, file: string): number | undefined {
  const number = Number(readCgroupFile(group, file) ?? Number.NaN);
  return Number.isFinite(number) ? number : undefined;
}

/** The number after `key ` in a flat keyed file of a group. */
export function readCgroupKey(group: string, file: string, key: string): number | undefined {
  const line = readCgroupFile(group, file)
    ?.split("\n")
    .find((candidate) => candidate.startsWith(`${key} `));
  return line === undefined ? undefined : Number(line.slice(key.length + 1));
}
