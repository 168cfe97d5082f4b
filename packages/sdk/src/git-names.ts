import { CaissonApiError } from "./api-error.ts";

/** Refuses what git would not take for the name of a branch or tag, but for an option, or for what to do with several branches. */
export function checkBranch(name: string): void {
  checkRevision(name);
  if (name.startsWith("+") || name.includes(":") || name.includes("*"))
    throw refused(
      `${JSON.stringify(name)} is no name of a branch.`,
      "Name one branch; other things that git can do are for `sandbox.commands.run`.",
    );
}

/** Refuses what git would take for an option; `-` alone is the branch before. */
export function checkRevision(name: string): void {
  if (name === "" || (name.startsWith("-") && name !== "-"))
    throw refused(`${JSON.stringify(name)} is no name of a branch or commit.`, "Names do not begin with `-`, and are not empty.");
}

function refused(message: string, remedy: string): CaissonApiError {
  return new CaissonApiError("invalid_request", message, { remedy });
}
