import { reportError } from "./program/cli-error.ts";
import { createProgram } from "./program/program.ts";

/** Runs the command line; returns the exit code. */
export async function main(argv: readonly string[]): Promise<number> {
  let code = 0;
  // A reader that has had enough (`caisson ls | head`) is no failure of ours, and there is nobody left to tell.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(141);
    throw error;
  });
  try {
    await createProgram((exit) => (code = exit)).parseAsync(argv, { from: "user" });
  } catch (error) {
    code = reportError(error, argv.includes("--json"));
  }
  return code;
}
