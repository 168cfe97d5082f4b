import fc from "fast-check";
import { expect, it } from "vitest";
import { findJsonMistake } from "./json-error.ts";

it("finds the place of any damage, and never one before it", () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 4 }), fc.nat(), (text, at) => {
      const place = at % (text.length + 1);
      // A control character is allowed nowhere in JSON; a number, word or escape that it cuts is refused from its first character.
      const { position, line, column } = findJsonMistake(`${text.slice(0, place)}\u0001${text.slice(place)}`);
      expect(text.slice(position, place)).toMatch(/^(?:[-+.\w]*|\\(?:u[\da-fA-F]{0,3})?)$/);
      expect([position <= place, line, column]).toEqual([true, 1, position + 1]);
    }),
    { numRuns: 2000 },
  );
});

it.each([
  ["[[]", 3],
  ['{"a":{}', 7],
  ['{"a":[1,{"b":2}', 15],
  ['[{"x}\u0001', 5],
  ["[]]", 2],
  ["[1,]", 3],
  ['{"a":1,}', 7],
  ["[[],[]", 6],
  ['{"a" 1}', 5],
])("finds the mistake of %j", (text, position) => {
  expect(findJsonMistake(text).position).toBe(position);
});

it("never fails on anything, and a cut text breaks at its end at the latest", () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.string({ maxLength: 60 }), fc.string({ unit: fc.constantFrom(...'[]{},:"\\1a '.split("")), maxLength: 30 })),
      (text) => {
        const { position } = findJsonMistake(text);
        expect(position).toBeGreaterThanOrEqual(0);
        expect(position).toBeLessThanOrEqual(text.length);
      },
    ),
    { numRuns: 2000 },
  );
});

it("counts lines", () => {
  expect(findJsonMistake('{\n  "a": 1,\n  b: 2\n}')).toEqual({ position: 14, line: 3, column: 3 });
});
