import fc from "fast-check";
import { expect, test } from "vitest";
import { readNdjson } from "./ndjson.ts";

async function read(chunks: readonly Uint8Array[], maxLine?: number): Promise<unknown[]> {
  const values: unknown[] = [];
  for await (const value of readNdjson(ReadableStream.from(chunks) as ReadableStream<Uint8Array>, maxLine)) values.push(value);
  return values;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

function split(whole: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const edges = [0, ...cuts.map((cut) => cut % (whole.length + 1)), whole.length].sort((a, b) => a - b);
  return edges.slice(1).map((edge, i) => whole.slice(edges[i], edge));
}

test("any split of the bytes gives the same objects", async () => {
  const object = fc.record({ a: fc.string({ unit: "binary" }), b: fc.integer() });
  await fc.assert(
    fc.asyncProperty(fc.array(object, { maxLength: 8 }), fc.array(fc.nat(500), { maxLength: 12 }), async (objects, cuts) => {
      const text = objects.map((one) => `${JSON.stringify(one)}\n`).join("");
      expect(await read(split(bytes(text), cuts))).toEqual(JSON.parse(JSON.stringify(objects)));
    }),
  );
});

test.each([
  ["a line without its newline", '{"a":1}\n{"b":2}', "ended within a line"],
  ["a line that is not JSON", "nonsense\n", "not JSON"],
  ["a line that is no object", "[1]\n", "not a JSON object"],
  ["an endless line", `{"a":"${"x".repeat(200)}`, "more than 64 bytes"],
])("refuses %s", async (_name, text, message) => {
  await expect(read([bytes(text)], 64)).rejects.toMatchObject({ code: "protocol_error", message: expect.stringContaining(message) });
});

test("refuses what is not UTF-8", async () => {
  await expect(read([new Uint8Array([0x7b, 0xff, 0x7d, 0x0a])])).rejects.toMatchObject({ code: "protocol_error" });
});
