import fc from "fast-check";
import { expect, it } from "vitest";
import { CONSOLE_READ_BYTES, consolePage, type ConsoleBytes } from "./console-page.ts";

const bytesOf = (text: string): ConsoleBytes => {
  const bytes = Buffer.from(text);
  return { size: bytes.length, read: (offset, length) => bytes.subarray(offset, offset + length) };
};

it("gives every line once, in order, however it is paged and however it grows", () => {
  const line = fc.string({ unit: fc.constantFrom("a", "ä", "\r", " ", "€"), maxLength: 5 });
  fc.assert(
    fc.property(fc.array(fc.tuple(line, fc.nat(3))), fc.integer({ min: 1, max: 3 }), (written, limit) => {
      let text = "";
      let after = 0;
      const got: string[] = [];
      for (const [one, breaks] of written) {
        text += one + "\n".repeat(breaks);
        const page = consolePage(bytesOf(text), { after, limit });
        expect(page.truncated).toBe(false);
        got.push(...page.lines);
        after = page.end;
      }
      for (;;) {
        const page = consolePage(bytesOf(text), { after, limit });
        if (page.lines.length === 0) break;
        got.push(...page.lines);
        after = page.end;
      }
      const whole = text.split("\n");
      expect(got).toEqual(whole.slice(0, -1));
      const last = whole.at(-1) === "" ? whole.slice(0, -1) : whole;
      expect(consolePage(bytesOf(text), { lines: 2 }).lines).toEqual(last.slice(-2));
    }),
  );
});

it("begins anew after a cut, and bounds what it reads", () => {
  expect(consolePage(bytesOf("new\n"), { after: 100, limit: 5 })).toEqual({ lines: ["new"], end: 4, truncated: true });
  const long = bytesOf(`${"x".repeat(CONSOLE_READ_BYTES)}yz\nlast\n`);
  const first = consolePage(long, { after: 0, limit: 5 });
  expect([first.lines[0]?.length, first.end]).toEqual([CONSOLE_READ_BYTES, CONSOLE_READ_BYTES]);
  expect(consolePage(long, { after: first.end, limit: 5 }).lines).toEqual(["yz", "last"]);
  expect(consolePage(long, { lines: 5 })).toEqual({ lines: ["last"], end: CONSOLE_READ_BYTES + 8, truncated: true });
});
