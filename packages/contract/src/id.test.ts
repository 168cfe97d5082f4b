import { expect, it } from "vitest";
import { SANDBOX_ID_PATTERN, cellOf, newId } from "./id.ts";
import { systemRandom } from "./random.ts";

const zeros = { bytes: (count: number) => new Uint8Array(count) };

it("makes sandbox ids of lower-case letters and digits that carry the cell", () => {
  for (let i = 0; i < 100; i += 1) expect(newId("sandbox", Date.now(), systemRandom)).toMatch(SANDBOX_ID_PATTERN);
  expect(newId("sandbox", 0, zeros)).toBe("sb000000000000000000000");
  expect(cellOf(newId("sandbox", 5, systemRandom, "7x"))).toBe("7x");
  expect(newId("event", 1, zeros).slice(0, 2)).toBe("ev");
});

it("sorts ids by time, for a thousand years", () => {
  const times = [0, 1, 31, 32, 1_000, Date.UTC(2026, 0, 1), Date.UTC(2026, 0, 1) + 1, Date.UTC(3026, 0, 1)];
  const ids = times.map((time) => newId("sandbox", time, systemRandom));
  expect(ids.toSorted()).toEqual(ids);
});

it("does not repeat an id within one millisecond", () => {
  expect(new Set(Array.from({ length: 10_000 }, () => newId("sandbox", 1, systemRandom))).size).toBe(10_000);
});
