import { CaissonError, isCaissonError } from "@caisson/contract";

/** Code of a system error, such as `ENOENT`; undefined for anything else. */
export function systemCode(error: unknown): string | undefined {
  const code: unknown = error instanceof Error && "code" in error ? error.code : undefined;
  return typeof code === "string" ? code : undefined;
}

/** Whether an error says that a path does not exist. */
export function isMissing(error: unknown): boolean {
  const code = systemCode(error);
  return code === "ENOENT" || code === "ENOTDIR";
}

/** A failure of the worker's own disk as a CaissonError: a full disk is named, what is a CaissonError already stays. */
export function toStorageError(error: unknown, doing: string): CaissonError {
  if (isCaissonError(error)) return error;
  const code = systemCode(error);
  if (code === "ENOSPC" || code === "EDQUOT")
    return new CaissonError("no_space", `The worker's disk is full: ${doing}.`, { cause: error, detail: { where: "worker" } });
  if (error instanceof Error && error.name === "AbortError") return new CaissonError("cancelled", `Cancelled: ${doing}.`, { cause: error });
  return new CaissonError("internal", `Failed: ${doing}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
}
