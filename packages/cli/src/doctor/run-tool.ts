import { execFile } from "node:child_process";

/** Time for a program to answer a small question, in ms. */
const TIMEOUT_MS = 5_000;

/** Runs a program; its first line of output, or undefined when it is not there or fails. */
export function firstLineOf(program: string, args: readonly string[]): Promise<string | undefined> {
  return new Promise((resolve) => {
    execFile(program, args, { timeout: TIMEOUT_MS, maxBuffer: 65_536 }, (error, stdout, stderr) => {
      resolve(error === null ? ((stdout || stderr).split("\n")[0] ?? "") : undefined);
    });
  });
}
