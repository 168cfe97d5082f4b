import { expect, it } from "vitest";
import { contentRange, readRange } from "./byte-range.ts";

it.each([
  ["bytes=0-0", { kind: "part", offset: 0, length: 1 }],
  ["bytes=2-", { kind: "part", offset: 2, length: 8 }],
  ["BYTES= 3-99 ", { kind: "part", offset: 3, length: 7 }],
  ["bytes=-4", { kind: "part", offset: 6, length: 4 }],
  ["bytes=-99", { kind: "part", offset: 0, length: 10 }],
  ["bytes=9-9", { kind: "part", offset: 9, length: 1 }],
  ["bytes=10-", { kind: "unsatisfiable" }],
  ["bytes=-0", { kind: "unsatisfiable" }],
  ["bytes=5-4", { kind: "whole" }],
  ["bytes=0-1,3-4", { kind: "whole" }],
  ["bytes=-", { kind: "whole" }],
  ["bytes=a-b", { kind: "whole" }],
  ["lines=0-1", { kind: "whole" }],
  ["bytes=0-1x", { kind: "whole" }],
])("%s of 10 bytes", (header, answer) => {
  expect(readRange(header, 10)).toEqual(answer);
});

it("names a part", () => {
  expect(contentRange({ offset: 6, length: 4 }, 10)).toBe("bytes 6-9/10");
});
