import fc from "fast-check";
import { expect, it } from "vitest";
import { brokenBound } from "./json-bounds.ts";

const depthOf = (value: unknown): number =>
  typeof value === "object" && value !== null ? 1 + Math.max(0, ...Object.values(value).map(depthOf)) : 0;

it("knows the depth of any JSON, whatever its strings hold", () => {
  const text = fc.json({ stringUnit: fc.constantFrom("a", '"', "\\", "[", "{", ",", "]"), maxDepth: 6 });
  fc.assert(
    fc.property(text, (inner) => {
      const json = `[${inner}]`;
      const depth = depthOf(JSON.parse(json));
      expect(brokenBound(Buffer.from(json), { depth, parts: 1e9 })).toBeUndefined();
      expect(brokenBound(Buffer.from(json), { depth: depth - 1, parts: 1e9 })).toBe("depth");
    }),
    { numRuns: 1000 },
  );
});

it.each([
  ["[1,2,3]", "parts"],
  ['["1,2,3,4"]', undefined],
  ['"\\\\", [,,,', "parts"],
  ['"never ends [[[[[[', undefined],
  ['"\\"[[[[', undefined],
])("counts parts outside strings: %s", (text, broken) => {
  expect(brokenBound(Buffer.from(text), { depth: 3, parts: 2 })).toBe(broken);
});
