import type { IncomingHttpHeaders } from "node:http";
import { CaissonError } from "@caisson/contract";

/** What conditions are checked against. */
export interface Validators {
  /** Strong, with its quotes. */
  readonly etag: string;
  readonly mtimeMs: number;
}

const CONDITIONS = ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since"] as const;

/** Whether a request has conditions at all. */
export function isConditional(headers: IncomingHttpHeaders): boolean {
  return CONDITIONS.some((name) => headers[name] !== undefined);
}

/**
 * Checks the conditions of a request in the order of RFC 9110, 13.2.2. `current` is undefined where there is nothing yet.
 * Throws `precondition_failed`; for a read, `not-modified` says that the client has it already.
 */
export function checkConditions(
  headers: IncomingHttpHeaders,
  current: Validators | undefined,
  access: "read" | "write",
): "proceed" | "not-modified" {
  const ifMatch = headers["if-match"];
  const unmodifiedSince = httpDate(headers["if-unmodified-since"]);
  if (ifMatch !== undefined) {
    if (!hasTag(ifMatch, current, "strong")) throw failed("If-Match", current);
  } else if (unmodifiedSince !== undefined && current !== undefined && seconds(current.mtimeMs) > unmodifiedSince) {
    throw failed("If-Unmodified-Since", current);
  }
  const ifNoneMatch = headers["if-none-match"];
  if (ifNoneMatch !== undefined) {
    if (!hasTag(ifNoneMatch, current, "weak")) return "proceed";
    if (access === "read") return "not-modified";
    throw failed("If-None-Match", current);
  }
  const modifiedSince = httpDate(headers["if-modified-since"]);
  const unchanged = modifiedSince !== undefined && current !== undefined && seconds(current.mtimeMs) <= modifiedSince;
  return access === "read" && unchanged ? "not-modified" : "proceed";
}

/** Whether a `Range` counts: without `If-Range` it does, with one only while the file has that very ETag. Dates are too coarse to tell. */
export function rangeHolds(ifRange: string | undefined, current: Validators): boolean {
  return ifRange === undefined || ifRange.trim() === current.etag;
}

function hasTag(list: string, current: Validators | undefined, comparison: "strong" | "weak"): boolean {
  if (current === undefined) return false;
  if (list.trim() === "*") return true;
  // Our own tags have no comma in them, so what a split tears apart is none of ours.
  return list.split(",").some((one) => {
    const tag = one.trim();
    return (comparison === "weak" ? tag.replace(/^W\//, "") : tag) === current.etag;
  });
}

/** Whole seconds of an HTTP date; a malformed one does not count. */
function httpDate(text: string | undefined): number | undefined {
  const ms = text === undefined ? Number.NaN : Date.parse(text);
  return Number.isNaN(ms) ? undefined : seconds(ms);
}

/** HTTP dates have no fractions. */
function seconds(ms: number): number {
  return Math.floor(ms / 1000);
}

function failed(header: string, current: Validators | undefined): CaissonError {
  const what = current === undefined ? "there is no such file" : `the file is now ${current.etag}`;
  return new CaissonError("precondition_failed", `The condition ${header} does not hold: ${what}.`, {
    detail: { etag: current?.etag ?? null },
  });
}
