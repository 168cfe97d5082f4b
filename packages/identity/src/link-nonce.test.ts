import { expect, it } from "vitest";
import { systemRandom } from "@caisson/contract";
import { checkNonce, LINK_NONCE_MS, newNonce } from "./link-nonce.ts";

const SECRET = new Uint8Array(32).fill(3);
const NOW = Date.UTC(2030, 0, 1);
const nonce = newNonce(SECRET, NOW, systemRandom);
const reason = (run: () => void): unknown => {
  try {
    run();
  } catch (error) {
    return (error as { detail: { reason: string } }).detail.reason;
  }
  return undefined;
};

it("takes a nonce for a minute, wherever the secret is known", () => {
  checkNonce(SECRET.slice(), nonce, NOW);
  checkNonce(SECRET, nonce, NOW + LINK_NONCE_MS);
  expect(reason(() => checkNonce(SECRET, nonce, NOW + LINK_NONCE_MS + 1))).toBe("nonce_expired");
  expect(reason(() => checkNonce(SECRET, nonce, NOW - LINK_NONCE_MS - 1))).toBe("nonce_expired");
  expect(newNonce(SECRET, NOW, systemRandom)).not.toBe(nonce);
});

it("takes none that was altered or made with another secret", () => {
  const [time = "", random = "", mark = ""] = nonce.split(".");
  const later = `${(NOW + 30_000).toString(36)}.${random}.${mark}`;
  for (const bad of ["", "a.b.c", later, `${time}.${random}.`, `${nonce}A`, nonce.slice(1), "x".repeat(100_000)]) {
    expect(reason(() => checkNonce(SECRET, bad, NOW))).toBe("nonce_invalid");
  }
  expect(reason(() => checkNonce(SECRET.with(0, 9), nonce, NOW))).toBe("nonce_invalid");
});
