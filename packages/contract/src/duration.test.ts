import fc from "fast-check";
import { expect, it } from "vitest";
import { formatDuration, parseDuration } from "./duration.ts";

it.each([
  ["0", 0],
  ["0s", 0],
  ["250ms", 250],
  ["1.5s", 1_500],
  ["30s", 30_000],
  ["5m", 300_000],
  ["1h30m", 5_400_000],
  ["2d", 172_800_000],
  ["1m1m", 120_000],
])("reads %s as %i ms", (text, ms) => {
  expect(parseDuration(text)).toBe(ms);
});

it.each(["", " ", "5", "-1s", "1 s", "s", "1s ", "1y", "1.s", ".5s", "1e3s", "NaNs", "9".repeat(70), "99999999999999999d", "1s\n"])(
  "refuses %j",
  (text) => {
    expect(parseDuration(text)).toBeUndefined();
  },
);

it("reads back what it writes", () => {
  fc.assert(
    fc.property(fc.nat({ max: 10_000_000_000 }), (ms) => {
      expect(parseDuration(formatDuration(ms))).toBe(ms);
    }),
  );
});
