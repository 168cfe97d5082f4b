import fc from "fast-check";
import { expect, it } from "vitest";
import { encodeBytes, Utf8Splitter, type EncodedBytes, type Piece } from "./utf8-splitter.ts";

/** Cuts bytes at the given places and sends the pieces through. */
function split(bytes: Uint8Array, cuts: readonly number[]): (EncodedBytes & { readonly offset: number })[] {
  const splitter = new Utf8Splitter();
  const pieces: Piece[] = [];
  const places = [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].toSorted((a, b) => a - b);
  let from = 0;
  for (const to of places) {
    const piece = splitter.push(from, bytes.subarray(from, to));
    if (piece !== undefined) pieces.push(piece);
    from = to;
  }
  const rest = splitter.flush();
  return (rest === undefined ? pieces : [...pieces, rest]).map((piece) => ({ offset: piece.offset, ...encodeBytes(piece.bytes) }));
}

const back = (pieces: readonly EncodedBytes[]) => Buffer.concat(pieces.map(({ data, encoding }) => Buffer.from(data, encoding ?? "utf8")));
const cuts = fc.array(fc.nat(), { maxLength: 12 });

it("any bytes, cut anywhere, come through exactly, with offsets that fit", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), cuts, (bytes, at) => {
      const pieces = split(bytes, at);
      expect(back(pieces).equals(bytes)).toBe(true);
      let end = 0;
      for (const piece of pieces) {
        expect(piece.offset).toBe(end);
        end += back([piece]).length;
      }
    }),
    { numRuns: 2000 },
  );
});

it("text, cut anywhere, stays text", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 100 }), cuts, (text, at) => {
      const pieces = split(Buffer.from(text, "utf8"), at);
      expect(pieces.every((piece) => piece.encoding === undefined)).toBe(true);
      expect(pieces.map((piece) => piece.data).join("")).toBe(Buffer.from(text, "utf8").toString("utf8"));
    }),
    { numRuns: 2000 },
  );
});

it("a byte order mark is kept", () => {
  expect(split(Buffer.from("\ufeffa"), [])).toEqual([{ offset: 0, data: "\ufeffa" }]);
});
