import { systemRandom } from "@caisson/contract";
import { describe, expect, it } from "vitest";
import { idPool, IdRanges, RANGE_SIZE } from "./id-ranges.ts";

describe("ranges of ids", () => {
  it("come from the usual pool where any id can be mapped, else from the upper half of what there is", () => {
    expect(idPool("         0          0 4294967295\n")).toEqual({ first: 0x4000_0000, last: 0x6fff_ffff });
    expect(idPool("0 100000 1000000")).toEqual({ first: 8 * RANGE_SIZE, last: 999_999 });
    expect(idPool("0 1000 1")).toBeUndefined();
  });

  it("are never given twice, and end", () => {
    const ranges = new IdRanges(systemRandom, { first: 0, last: 4 * RANGE_SIZE - 1 });
    ranges.claim(RANGE_SIZE);
    const given = [ranges.take(), ranges.take(), ranges.take()].sort((a, b) => a - b);
    expect(given).toEqual([0, 2 * RANGE_SIZE, 3 * RANGE_SIZE]);
    expect(() => ranges.take()).toThrow("in use");
    ranges.release(0);
    expect(ranges.take()).toBe(0);
  });
});
