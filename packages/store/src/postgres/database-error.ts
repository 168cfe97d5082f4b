import { CaissonError } from "@caisson/contract";

/** Seconds after which asking again makes sense. */
const RETRY_AFTER_S = 1;

/** What a failed statement says. */
export interface DatabaseFailure {
  /** For callers. */
  readonly error: unknown;
  /** The connection is of no more use. */
  readonly broken: boolean;
}

/** A lost database as callers hear of it. */
export function databaseUnavailable(why: string, cause?: unknown): CaissonError {
  return new CaissonError("database_unavailable", `The database cannot be used now: ${why}.`, { cause, retryAfter: RETRY_AFTER_S });
}

/** Whether the same transaction may simply be run again: it lost against another one and left nothing. */
export function isRetriable(error: unknown): boolean {
  const code = codeOf(error);
  return code === "40001" || code === "40P01" || isOutdated(error);
}

/** Whether a statement that was kept parsed no longer fits the tables, because a newer control plane has changed them. */
export function isOutdated(error: unknown): boolean {
  return codeOf(error) === "0A000" && (error as { routine?: unknown }).routine === "RevalidateCachedQuery";
}

/** Whether a server is there and does not let one in: waiting does not help. */
export function isRefusal(error: unknown): boolean {
  const code = codeOf(error);
  return code !== undefined && /^(28|3D)/.test(code);
}

/** Whether a connection failed, and no database said anything: no SQLSTATE. */
export function isOfConnection(error: unknown): boolean {
  return !(error instanceof CaissonError) && codeOf(error) === undefined;
}

/** Why a connection could not be made, in a word where there is one: `ECONNREFUSED`. Names no host, for callers of the server hear it. */
export function reasonOf(error: unknown): string {
  const { code } = error as { code?: unknown };
  return typeof code === "string" ? code : messageOf(error);
}

/** Sorts the errors of `pg`: those of the database's state become `database_unavailable`; those of a statement stay what they are. */
export function toDatabaseFailure(error: unknown): DatabaseFailure {
  if (error instanceof CaissonError) return { error, broken: true };
  if (isOutdated(error)) return { error, broken: true };
  const code = codeOf(error);
  if (code === undefined) return { error: databaseUnavailable("the connection is lost", error), broken: true };
  switch (code.slice(0, 2)) {
    case "08": // connection exceptions
    case "28": // refused at the door
    case "3D": // no such database
    case "53": // out of connections, memory or disk
    case "58": // errors of its system
      return { error: databaseUnavailable(messageOf(error), error), broken: true };
    default:
  }
  switch (code) {
    case "57P01": // shut down by an administrator
    case "57P02": // crashed
    case "57P03": // starting up
    case "57P05": // idle for too long
    case "25P03": // idle for too long in a transaction
    case "25006": // read only: it is a standby now
      return { error: databaseUnavailable(messageOf(error), error), broken: true };
    case "57014": // a statement took too long
    case "55P03": // a lock was not free
      return { error: databaseUnavailable("a statement took too long", error), broken: false };
    default:
      return { error, broken: false };
  }
}

function codeOf(error: unknown): string | undefined {
  const { code } = (typeof error === "object" && error !== null ? error : {}) as { code?: unknown };
  // Errors of sockets have codes such as ECONNRESET, which are no SQLSTATE.
  return typeof code === "string" && /^[0-9A-Z]{5}$/.test(code) && !/^E[A-Z]{4}$/.test(code) ? code : undefined;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message.replace(/\.$/, "") : String(error);
}
