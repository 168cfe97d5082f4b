import fc from "fast-check";
import { expect, it } from "vitest";
import { outputLine } from "./output-line.ts";

interface Line {
  readonly data: string;
  readonly encoding?: "base64";
}

const parsed = (bytes: Uint8Array): Line => {
  const text = outputLine("stderr", 7, bytes).toString("utf8");
  expect(text.endsWith("\n")).toBe(true);
  const { data, encoding, ...rest } = JSON.parse(text) as Line;
  expect(rest).toEqual({ type: "output", stream: "stderr", offset: 7 });
  return { data, ...(encoding === undefined ? {} : { encoding }) };
};
const bytesOf = ({ data, encoding }: Line): Buffer => Buffer.from(data, encoding ?? "utf8");

/** Bytes of all kinds, more often those that JSON escapes; at any place in memory. */
const piece = fc
  .tuple(
    fc.nat({ max: 7 }),
    fc.array(
      fc.oneof(
        fc.uint8Array({ maxLength: 40 }),
        fc.string({ unit: "binary", maxLength: 40 }).map((text) => new Uint8Array(Buffer.from(text))),
        fc
          .constantFrom("\n", '"', "\\", "\t\r\b\f", "\0", "\u001b[1m", "\u007f", "plain text, some of it long enough", "ü€😀")
          .map((text) => new Uint8Array(Buffer.from(text))),
      ),
      { maxLength: 60 },
    ),
  )
  .map(([skip, parts]) => Buffer.concat([Buffer.alloc(skip), ...parts]).subarray(skip));

it("is JSON that gives back exactly the bytes, whatever they are", () => {
  fc.assert(
    fc.property(piece, (bytes) => {
      expect(bytesOf(parsed(bytes)).equals(bytes)).toBe(true);
    }),
    { numRuns: 2000 },
  );
});

it("is text for text, and base64 for what is not, or would be longer as text", () => {
  expect(parsed(Buffer.from('say "hi"\\\n\tü\u0001'))).toEqual({ data: 'say "hi"\\\n\tü\u0001' });
  expect(parsed(Buffer.from([0xff]))).toEqual({ data: "/w==", encoding: "base64" });
  expect(parsed(Buffer.alloc(1000)).encoding).toBe("base64");
  expect(parsed(Buffer.from("a".repeat(100_000) + "\0".repeat(50_000))).encoding).toBe("base64");
  expect(parsed(Buffer.from(`${"a line of some length\n".repeat(5000)}\0`)).encoding).toBeUndefined();
  expect(parsed(Buffer.alloc(0))).toEqual({ data: "" });
});
