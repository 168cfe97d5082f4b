import { describe, expect, it } from "vitest";
import { CaissonError, fromWire, isCaissonError, toCaissonError, toProblem } from "./error.ts";
import { ERROR_TABLE, isErrorCode, type ErrorCode } from "./error-table.ts";

const CODES = Object.keys(ERROR_TABLE) as ErrorCode[];

describe("the error table", () => {
  it.each(CODES)("%s has a status, an exit code, and sentences", (code) => {
    const entry = ERROR_TABLE[code];
    expect(code).toMatch(/^[a-z]+(?:_[a-z]+)*$/);
    expect(entry.status).toBeGreaterThanOrEqual(400);
    expect(entry.status).toBeLessThan(600);
    expect(entry.exit).toBeGreaterThan(0);
    expect(entry.exit).toBeLessThan(256);
    expect(entry.title).toMatch(/^[A-Z].*\.$/);
    expect(entry.remedy).toMatch(/^[A-Z].*\.$/);
  });

  it("is retryable for every answer that says: later", () => {
    const wrong = CODES.filter((code) => {
      const { status, retryable } = ERROR_TABLE[code];
      return retryable ? [400, 401, 403, 404, 410, 422].includes(status) : [429, 503].includes(status);
    });
    expect(wrong).toEqual([]);
  });

  it.each(CODES)("%s survives the wire", (code) => {
    const error = new CaissonError(code, "Why.", { detail: { a: 1 }, errors: [{ path: "x", message: "is wrong" }] });
    const problem = toProblem(error, "r1");
    expect(problem).toMatchObject({ code, status: ERROR_TABLE[code].status, message: "Why.", request_id: "r1" });
    const back = fromWire(JSON.parse(JSON.stringify(problem)) as Parameters<typeof fromWire>[0]);
    expect(back).toMatchObject({ code, message: "Why.", detail: { a: 1 }, errors: [{ path: "x", message: "is wrong" }] });
  });

  it("takes nothing else for a code or an error of ours", () => {
    for (const code of ["toString", "__proto__", "", "nope", 7, null]) expect(isErrorCode(code)).toBe(false);
    expect(fromWire({ code: "nope", message: 3 })).toMatchObject({ code: "internal" });
    const cause = new Error("boom");
    expect(toCaissonError(cause)).toMatchObject({ code: "internal", message: "boom", cause });
    expect(toCaissonError(AbortSignal.abort().reason)).toMatchObject({ code: "cancelled" });
    expect(toCaissonError("text")).toMatchObject({ code: "internal", message: "text" });
    const ours = new CaissonError("conflict", "x");
    expect(toCaissonError(ours)).toBe(ours);
    expect(isCaissonError(ours, "conflict", "internal")).toBe(true);
    expect(isCaissonError(ours, "internal")).toBe(false);
    expect(isCaissonError({ code: "conflict" })).toBe(false);
  });
});
