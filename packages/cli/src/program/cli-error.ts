import { CommanderError } from "commander";
import { CaissonError, isCaissonError, toCaissonError, toProblem } from "@caisson/contract";
import { CaissonApiError } from "@caisson/sdk";
import { printable, printableJson } from "../terminal/printable.ts";

/** Exit code of `run` and `exec` when Caisson itself failed, not the command. */
export const OWN_FAILURE = 125;

/** A failure on its way out, with the exit code it ends with. */
export class CliError extends Error {
  readonly exit: number;

  constructor(cause: unknown, exit: number) {
    super("the command failed", { cause });
    this.exit = exit;
  }
}

/** Tells a failure on standard error: what, and what to do. Returns the exit code. */
export function reportError(thrown: unknown, json: boolean): number {
  const exit = thrown instanceof CliError ? thrown.exit : undefined;
  const cause = thrown instanceof CliError ? thrown.cause : thrown;
  if (cause instanceof CommanderError) {
    // Help and the version are asked for; commander has said the rest.
    return cause.exitCode === 0 ? 0 : (exit ?? 2);
  }
  const error = isCaissonError(cause) ? cause : toCaissonError(cause);
  const requestId = error instanceof CaissonApiError ? error.requestId : undefined;
  const remedy = error instanceof CaissonApiError ? error.remedy : remedyOf(error);
  if (json) {
    process.stderr.write(`${printableJson({ ...toProblem(error, requestId), remedy })}\n`);
  } else {
    // What we say of our own may have several lines; what a server says is one.
    const message =
      error instanceof CaissonApiError
        ? printable(error.message)
        : error.message
            .split("\n")
            .map((line) => printable(line))
            .join("\n");
    process.stderr.write(`caisson: ${message}${requestId === undefined ? "" : ` (request ${requestId})`}\n`);
    process.stderr.write(`  ${printable(remedy)}\n`);
    if (process.env.NODE_DEBUG?.includes("caisson")) console.error(cause);
  }
  return exit ?? error.entry.exit;
}

/** What to do about an error of our own: its own remedy where it has one, else the table's. */
function remedyOf(error: CaissonError): string {
  const own = error.detail?.remedy;
  // Of a server's database the table knows enough; here it is this command that cannot reach it.
  if (own === undefined && error.code === "database_unavailable")
    return "See whether PostgreSQL runs, and whether database.dsn or database.dsn_file names it; sandboxes live on meanwhile.";
  return typeof own === "string" ? own : error.entry.remedy;
}

/** A mistake of the person who typed the command. */
export function usageError(message: string, remedy: string): CaissonError {
  return new CaissonError("invalid_request", message, { detail: { remedy } });
}
