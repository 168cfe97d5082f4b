import { fstatSync } from "node:fs";

/** Whether standard input was given: a pipe, a file or a socket, and not a terminal or `/dev/null`. */
export function stdinIsPiped(): boolean {
  try {
    const stat = fstatSync(0);
    return stat.isFIFO() || stat.isFile() || stat.isSocket();
  } catch {
    return false; // closed
  }
}
