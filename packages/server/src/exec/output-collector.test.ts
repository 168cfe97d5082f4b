import fc from "fast-check";
import { expect, it } from "vitest";
import { OutputCollector } from "./output-collector.ts";

it("keeps the first bytes and tells the last, however they come", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 30_000 }), { maxLength: 12 }), fc.integer({ min: 0, max: 60_000 }), (sizes, limit) => {
      const collector = new OutputCollector(limit);
      const all = Buffer.alloc(
        sizes.reduce((sum, size) => sum + size, 0),
        "abcdefghijklmnopqrstuvwxyz0123456789",
      );
      let from = 0;
      for (const size of sizes) collector.add(all.subarray(from, (from += size)));
      expect(collector.encoded()).toEqual({ data: all.subarray(0, limit).toString() });
      expect(collector.truncated).toBe(all.length > limit);
      expect(collector.tail()).toBe(all.subarray(-16_384).toString());
    }),
    { numRuns: 200 },
  );
});

it("a cut inside a character does not make the text binary", () => {
  const collector = new OutputCollector(4);
  collector.add(Buffer.from("aüü"));
  expect(collector.encoded()).toEqual({ data: "aü" });
});

it("a gap counts as truncated", () => {
  const collector = new OutputCollector(4);
  collector.gap();
  expect(collector.truncated).toBe(true);
});
