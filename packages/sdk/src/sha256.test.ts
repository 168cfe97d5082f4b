import { createHash, randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { createSha256, PortableSha256, reprDigest, sha256Of } from "./sha256.ts";

const expected = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

test.each([0, 1, 3, 55, 56, 57, 63, 64, 65, 119, 120, 128, 1000, 100_003])(
  "both give the digest of %i bytes, however they are split",
  (length) => {
    const bytes = randomBytes(length);
    for (const hash of [new PortableSha256(), createSha256()]) {
      for (let at = 0; at < length;) {
        const size = 1 + ((at * 7) % 131);
        hash.update(bytes.subarray(at, at + size));
        at += size;
      }
      expect(hash.hex()).toBe(expected(bytes));
    }
  },
);

test("a digest goes into a header and comes out of it", () => {
  const hex = expected(Buffer.from("x"));
  expect(reprDigest(hex)).toBe(`sha-256=:${Buffer.from(hex, "hex").toString("base64")}:`);
  expect(sha256Of(`sha-512=:AAAA:, ${reprDigest(hex)}`)).toBe(hex);
  expect([sha256Of(null), sha256Of("sha-256=:AA==:")]).toEqual([undefined, undefined]);
});
