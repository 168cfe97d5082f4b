import { systemRandom } from "@caisson/contract";
import fc from "fast-check";
import { expect, it } from "vitest";
import { retryDelay } from "./retry-delay.ts";

it("is the scheduled delay, a fifth earlier or later, and ends with the schedule", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 100_000_000 }), { maxLength: 12 }), fc.nat(15), fc.nat(255), (retries, index, byte) => {
      const delay = retryDelay(index + 1, retries, { bytes: () => Uint8Array.of(byte) });
      const scheduled = retries[index];
      if (scheduled === undefined) expect(delay).toBeUndefined();
      else {
        expect(delay).toBeGreaterThanOrEqual(Math.floor(scheduled * 0.8));
        expect(delay).toBeLessThanOrEqual(Math.ceil(scheduled * 1.2));
      }
    }),
  );
});

it("varies", () => {
  expect(new Set(Array.from({ length: 50 }, () => retryDelay(1, [100_000], systemRandom))).size).toBeGreaterThan(5);
});
