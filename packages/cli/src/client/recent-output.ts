import type { Sandbox } from "@caisson/sdk";
import { usageError } from "../program/cli-error.ts";

/** Bytes of a terminal's output that fill a screen, and some. */
const SCREENFUL = 16_384;

/** Where the last screenful of a terminal begins. Refuses a process that has none. */
export async function recentOutput(sandbox: Sandbox, processId: number): Promise<{ readonly from: number }> {
  const { pty, stdout } = await sandbox.processes.get(processId);
  if (!pty) throw usageError(`Process ${processId} has no terminal.`, `Follow it with \`caisson attach ${sandbox.id} ${processId}\`.`);
  return { from: Math.max(stdout.start, stdout.end - SCREENFUL) };
}
