import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import type { ConsoleChunk, ConsoleRange } from "@caisson/contract";
import { consolePage } from "../contract/console-page.ts";

/** Lines of a console that is a file; one that is not there is empty. */
export function readConsole(path: string, range: ConsoleRange): ConsoleChunk {
  let file: number;
  try {
    file = openSync(path, "r");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    return consolePage({ size: 0, read: () => Buffer.alloc(0) }, range);
  }
  try {
    const read = (offset: number, length: number): Uint8Array => {
      const buffer = Buffer.alloc(length);
      return buffer.subarray(0, readSync(file, buffer, 0, length, offset));
    };
    return consolePage({ size: fstatSync(file).size, read }, range);
  } finally {
    closeSync(file);
  }
}
