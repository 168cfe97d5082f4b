import { expect, test } from "vitest";
import { systemRandom } from "./random.ts";

test("never gives out the same bytes twice, however many are drawn", () => {
  const drawn = new Set<string>();
  for (let i = 0; i < 1_000; i += 1) {
    const bytes = systemRandom.bytes(8 + (i % 9));
    expect(bytes).toHaveLength(8 + (i % 9));
    drawn.add(Buffer.from(bytes).toString("hex").slice(0, 16));
  }
  expect(drawn.size).toBe(1_000);
  expect(systemRandom.bytes(0)).toHaveLength(0);
  expect(systemRandom.bytes(5_000).some((byte) => byte !== 0)).toBe(true);
});

test("gives out bytes that no later draw changes", () => {
  const first = systemRandom.bytes(16);
  const kept = Uint8Array.from(first);
  for (let i = 0; i < 300; i += 1) systemRandom.bytes(16);
  expect(first).toEqual(kept);
});
