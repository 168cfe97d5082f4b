import { expect, it } from "vitest";
import { POOLED_BYTES, pooledBytes, recycleBytes } from "./byte-pool.ts";

it("gives a buffer out again only after it came back, and only once", () => {
  const one = pooledBytes(60_000);
  const two = pooledBytes(60_000);
  expect(one.length).toBe(60_000);
  expect(two.buffer).not.toBe(one.buffer);
  recycleBytes(one.subarray(10, 20));
  recycleBytes(one);
  const three = pooledBytes(POOLED_BYTES);
  const four = pooledBytes(60_000);
  expect(three.buffer).toBe(one.buffer);
  expect(three.length).toBe(POOLED_BYTES);
  expect(four.buffer).not.toBe(three.buffer);
});

it("leaves bytes alone that are small, large or not its own", () => {
  for (const length of [0, 10, POOLED_BYTES + 1]) {
    const bytes = pooledBytes(length);
    expect(bytes.length).toBe(length);
    expect(bytes.buffer.byteLength).toBe(length);
    recycleBytes(bytes);
    expect(pooledBytes(60_000).buffer).not.toBe(bytes.buffer);
  }
  const foreign = Buffer.alloc(60_000);
  recycleBytes(foreign);
  expect(pooledBytes(60_000).buffer).not.toBe(foreign.buffer);
});
