import { expect, it } from "vitest";
import { checkConditions, rangeHolds } from "./conditions.ts";

const current = { etag: '"v2"', mtimeMs: Date.UTC(2026, 0, 2, 3, 4, 5, 678) };
const BEFORE = "Fri, 02 Jan 2026 03:04:04 GMT";
const AT = "Fri, 02 Jan 2026 03:04:05 GMT";

it.each([
  [{}, "proceed"],
  [{ "if-none-match": '"v2"' }, "not-modified"],
  [{ "if-none-match": '"v1", W/"v2"' }, "not-modified"],
  [{ "if-none-match": "*" }, "not-modified"],
  [{ "if-none-match": '"v1"', "if-modified-since": AT }, "proceed"], // the date does not count beside a tag
  [{ "if-modified-since": AT }, "not-modified"],
  [{ "if-modified-since": BEFORE }, "proceed"],
  [{ "if-modified-since": "nonsense" }, "proceed"],
  [{ "if-match": '"v1", "v2"' }, "proceed"],
  [{ "if-match": "*" }, "proceed"],
  [{ "if-match": 'W/"v2"' }, "precondition_failed"],
  [{ "if-match": '"v1"' }, "precondition_failed"],
  [{ "if-match": '"v2"', "if-unmodified-since": BEFORE }, "proceed"],
  [{ "if-unmodified-since": BEFORE }, "precondition_failed"],
  [{ "if-unmodified-since": AT }, "proceed"],
  [{ "if-match": '"v1"', "if-none-match": '"v2"' }, "precondition_failed"], // the order of RFC 9110
])("a read with %j", (headers, outcome) => {
  expect(outcomeOf(() => checkConditions(headers, current, "read"))).toBe(outcome);
});

it.each([
  [{ "if-none-match": "*" }, "precondition_failed", "proceed"],
  [{ "if-match": "*" }, "proceed", "precondition_failed"],
  [{ "if-match": '"v2"' }, "proceed", "precondition_failed"],
  [{ "if-none-match": '"v2"' }, "precondition_failed", "proceed"],
  [{ "if-modified-since": AT }, "proceed", "proceed"],
])("a write with %j, over a file and over nothing", (headers, there, nothing) => {
  expect(outcomeOf(() => checkConditions(headers, current, "write"))).toBe(there);
  expect(outcomeOf(() => checkConditions(headers, undefined, "write"))).toBe(nothing);
});

it("a range holds for the very same version only", () => {
  expect([undefined, '"v2"', '"v1"', 'W/"v2"', AT].map((one) => rangeHolds(one, current))).toEqual([true, true, false, false, false]);
});

function outcomeOf(check: () => string): string {
  try {
    return check();
  } catch (error) {
    return (error as { code: string }).code;
  }
}
