import { runProgram } from "./run-program.ts";
import { systemClock } from "@caisson/contract";

/** Puts all files below a folder on disk, with one call for the whole file system. */
export async function syncTree(path: string, signal: AbortSignal): Promise<void> {
  await runProgram({
    program: "sync",
    args: ["-f", path],
    clock: systemClock,
    deadlineMs: 300_000,
    signal,
    doing: "writing an image to the disk",
  });
}
