import { closeSync, fsyncSync, openSync, renameSync, writeSync } from "node:fs";

/** Writes a small file whole or not at all, readable by its owner only. */
export function writePrivateFile(path: string, text: string): void {
  const partial = `${path}.${process.pid}`;
  const file = openSync(partial, "w", 0o600);
  try {
    writeSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(partial, path);
}
