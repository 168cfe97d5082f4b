import { reportError } from "./program/cli-error.ts";
import { createProgram } from "./program/program.ts";

/** Runs the command line; returns the exit code. */
export async function main(argv: readonly string[]): Promise<number> {
  let code = 0;
  // A reader that has had enough (`caisson ls | head`) is no failure of ours. Commands that must clean up listen as well.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    if (process.stdout.listenerCount("error") === 1) process.exit(141);
  });
  try {
    await createProgram((exit) => (code = exit)).parseAsync(argv, { from: "user" });
  } catch (error) {
    code = reportError(error, argv.includes("--json"));
  }
  return code;
}
