import { isCaissonError } from "@caisson/contract";
import fc from "fast-check";
import { Packr, Unpackr } from "msgpackr";
import { describe, expect, it } from "vitest";
import { encodeFrame, FLAG_FIN, KIND, MAX_CONTROL_BYTES } from "./frame.ts";
import { FrameDecoder } from "./frame-decoder.ts";
import { decodeMap, type WireMap, type WireValue } from "./messagepack-decode.ts";
import { encodeMap } from "./messagepack-encode.ts";

interface Whole {
  readonly kind: number;
  readonly channel: number;
  readonly flags: number;
  readonly payload: string;
}

function decodeAll(pieces: readonly Buffer[]): { frames: Whole[]; atBoundary: boolean } {
  const frames: Whole[] = [];
  const decoder = new FrameDecoder({
    header: () => undefined,
    data: (channel, flags, payload) => frames.push({ kind: KIND.data, channel, flags, payload: Buffer.from(payload).toString("hex") }),
    control: (kind, channel, flags, payload) => frames.push({ kind, channel, flags, payload: payload.toString("hex") }),
  });
  for (const piece of pieces) decoder.push(piece);
  return { frames, atBoundary: decoder.atBoundary };
}

function outcome(run: () => unknown): string {
  try {
    run();
    return "done";
  } catch (error) {
    return isCaissonError(error) ? error.code : String(error);
  }
}

const frame = fc.oneof(
  fc.record({
    kind: fc.constant(KIND.data as number),
    channel: fc.integer({ min: 1, max: 0xffff_ffff }),
    flags: fc.constantFrom(0, 1, 2, FLAG_FIN, FLAG_FIN | 1),
    payload: fc.uint8Array({ maxLength: 3000 }),
  }),
  fc.record({
    kind: fc.constantFrom<number>(KIND.open, KIND.event, KIND.reply),
    channel: fc.integer({ min: 1, max: 0xffff_ffff }),
    flags: fc.constantFrom(0, FLAG_FIN),
    payload: fc.uint8Array({ maxLength: 300 }),
  }),
  fc.record({
    kind: fc.constant(KIND.ping as number),
    channel: fc.constant(0),
    flags: fc.constantFrom(0, 1),
    payload: fc.uint8Array({ minLength: 8, maxLength: 8 }),
  }),
);

function split(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const at = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  return [0, ...at].map((from, i) => Buffer.from(bytes.subarray(from, at[i] ?? bytes.length)));
}

describe("frame decoder", () => {
  it("gives the same frames for any split of the bytes", () => {
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 12 }), fc.array(fc.nat(), { maxLength: 60 }), (frames, cuts) => {
        const bytes = Buffer.concat(frames.map((f) => encodeFrame(f.kind, f.channel, f.flags, f.payload)));
        const expected = frames.map((f) => ({ ...f, payload: Buffer.from(f.payload).toString("hex") }));
        expect(decodeAll(split(bytes, cuts))).toEqual({ frames: expected, atBoundary: true });
      }),
      { numRuns: 300 },
    );
  });

  it("gives the whole frames before any truncation, byte by byte", () => {
    const frames = [
      encodeFrame(KIND.open, 1, 0, Buffer.from("abc")),
      encodeFrame(KIND.data, 1, FLAG_FIN | 1, Buffer.from("hello")),
      encodeFrame(KIND.end, 1, 0, Buffer.alloc(0)),
      encodeFrame(KIND.credit, 1, 0, Buffer.alloc(4, 1)),
    ];
    const bytes = Buffer.concat(frames);
    const ends = frames.reduce<number[]>((all, f) => [...all, (all.at(-1) ?? 0) + f.length], []);
    for (let length = 0; length <= bytes.length; length++) {
      const oneByOne = Array.from(bytes.subarray(0, length), (byte) => Buffer.from([byte]));
      const { frames: got, atBoundary } = decodeAll(oneByOne);
      expect(got.length).toBe(ends.filter((end) => end <= length).length);
      expect(atBoundary).toBe(length === 0 || ends.includes(length));
    }
  });

  it("collects a large payload from single bytes in linear time", () => {
    const pieces = Array.from(encodeFrame(KIND.event, 1, 0, Buffer.alloc(MAX_CONTROL_BYTES, 1)), (byte) => Buffer.from([byte]));
    // Of the processor, a hundredth of a second: how long it takes is up to who else uses it.
    const before = process.cpuUsage();
    expect(decodeAll(pieces).frames).toHaveLength(1);
    expect(process.cpuUsage(before).user).toBeLessThan(2_000_000);
  });

  it("throws protocol_error or gives frames for any bytes", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 64 }), { maxLength: 8 }), (chunks) => {
        expect(outcome(() => decodeAll(chunks.map((chunk) => Buffer.from(chunk))))).toMatch(/^(done|protocol_error)$/);
      }),
      { numRuns: 500 },
    );
  });
});

const wireValue: fc.Arbitrary<WireValue> = fc.letrec<{ value: WireValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 5 },
    fc.constant(null),
    fc.boolean(),
    fc.maxSafeInteger(),
    fc.integer({ min: -300, max: 300 }),
    fc.double(),
    fc.bigInt({ min: 2n ** 53n, max: 2n ** 64n - 1n }),
    fc.string({ unit: "grapheme", maxLength: 80 }),
    fc.uint8Array({ maxLength: 300 }),
    fc.array(tie("value"), { maxLength: 20 }),
    fc.dictionary(fc.string({ maxLength: 40 }), tie("value"), { maxKeys: 20, noNullPrototype: true }),
  ),
})).value;
const wireMap = fc.dictionary(fc.string(), wireValue, { noNullPrototype: true });

const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true });
const packr = new Packr({ useRecords: false, variableMapSize: true });

describe("MessagePack", () => {
  it("brings every value of the subset back", () => {
    fc.assert(
      fc.property(wireMap, (map) => {
        expect(decodeMap(encodeMap(map, 0, 1_000_000))).toEqual(map);
      }),
      { numRuns: 500 },
    );
  });

  it("brings long lists back whatever their size", () => {
    for (let size = 1; size < 9000; size += 61) {
      const map = { list: Array.from({ length: size }, (_, i) => (i % 3 === 0 ? "ab" : i)), flags: [true, null] };
      expect(decodeMap(encodeMap(map, 10, 1_000_000).subarray(10))).toEqual(map);
    }
  });

  it("keeps a key that would set a prototype as an own key", () => {
    const map = decodeMap(encodeMap(Object.fromEntries([["__proto__", 1]]), 0, 100));
    expect(Object.keys(map)).toEqual(["__proto__"]);
    expect(Object.getPrototypeOf(map)).toBe(Object.prototype);
  });

  it("agrees with another implementation both ways", () => {
    const plain = fc.dictionary(
      fc.stringMatching(/^[a-z]{1,40}$/),
      fc.oneof(
        fc.integer(),
        fc.boolean(),
        fc.constant(null),
        fc.string({ unit: "grapheme", maxLength: 400 }),
        fc.array(fc.integer(), { maxLength: 40 }),
      ),
      { noNullPrototype: true },
    );
    fc.assert(
      fc.property(plain, (map) => {
        expect(decodeMap(packr.pack(map))).toEqual(map);
        expect(unpackr.unpack(encodeMap(map, 0, 1_000_000))).toEqual(map);
      }),
      { numRuns: 300 },
    );
  });

  it("refuses every truncation and any byte behind", () => {
    const whole = encodeMap({ a: [1, 70_000, -5, 1.5], b: { c: "text", d: Buffer.from([1, 2]) }, e: 2 ** 40, f: null }, 0, 1000);
    for (let length = 0; length < whole.length; length++) expect(() => decodeMap(whole.subarray(0, length))).toThrow(/cut off|not a map/);
    expect(() => decodeMap(Buffer.concat([whole, Buffer.from([0])]))).toThrow("bytes follow");
  });

  const nested = (depth: number): Record<string, unknown> => (depth === 1 ? {} : { a: nested(depth - 1) });
  it.each([
    ["a key twice", Buffer.from([0x82, 0xa1, 0x61, 1, 0xa1, 0x61, 2])],
    ["a key that is a number", Buffer.from([0x81, 1, 1])],
    ["an extension", Buffer.from([0x81, 0xa1, 0x61, 0xd4, 1, 1])],
    ["a timestamp", packr.pack({ a: new Date() })],
    ["a float of 32 bits", Buffer.from([0x81, 0xa1, 0x61, 0xca, 0, 0, 0, 0])],
    ["the unused tag", Buffer.from([0x81, 0xa1, 0x61, 0xc1])],
    ["a string that is not UTF-8", Buffer.from([0x81, 0xa1, 0x61, 0xa2, 0xc3, 0x28])],
    ["a length beyond the payload", Buffer.from([0xdf, 0xff, 0xff, 0xff, 0xff])],
    ["an array beyond the payload", Buffer.from([0x81, 0xa1, 0x61, 0xdd, 0x7f, 0xff, 0xff, 0xff])],
    ["an array", Buffer.from([0x90])],
    ["nesting of 17", packr.pack(nested(17))],
  ])("refuses %s", (_name, bytes) => {
    expect(() => decodeMap(bytes)).toThrow(expect.objectContaining({ code: "protocol_error" }));
  });

  it("takes nesting of 16, and sends no deeper", () => {
    expect(decodeMap(encodeMap(nested(16), 0, 1000))).toEqual(nested(16));
    expect(() => encodeMap(nested(17), 0, 1000)).toThrow(expect.objectContaining({ code: "invalid_argument" }));
  });

  it.each([
    ["a function", { a: () => 1 }],
    ["a date", { a: new Date() }],
    ["a big integer of 65 bits", { a: 2n ** 64n }],
    ["more than the limit", { a: "x".repeat(2000) }],
  ])("does not send %s", (_name, map: Record<string, unknown>) => {
    expect(() => encodeMap(map, 0, 1000)).toThrow(expect.objectContaining({ code: "invalid_argument" }));
  });

  it("leaves out what is undefined", () => {
    expect(decodeMap(encodeMap({ a: undefined, b: 1 }, 0, 100))).toEqual({ b: 1 } satisfies WireMap);
  });
});
