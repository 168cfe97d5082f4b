import { expect, it } from "vitest";
import { OutputWindow } from "./output-window.ts";

/** Whether a promise is settled once everything that can run has run. */
async function settled(promise: Promise<unknown>): Promise<boolean> {
  let done = false;
  void promise.then(() => {
    done = true;
  });
  for (let turn = 0; turn < 5; turn += 1) await Promise.resolve();
  return done;
}

it("gives room up to its size, and more as it is acknowledged", async () => {
  const window = new OutputWindow(10);
  expect(await window.take(4)).toBe(4);
  expect(await window.take(20)).toBe(6);
  const more = window.take(5);
  expect(await settled(more)).toBe(false);
  window.ack(3);
  expect(await more).toBe(3);
});

it("has no bound without a size", async () => {
  const window = new OutputWindow(undefined);
  expect(await window.take(1e9)).toBe(1e9);
  expect(() => window.ack(1)).toThrow("needs a window");
});

it("refuses to be acknowledged what was not sent", async () => {
  const window = new OutputWindow(10);
  await window.take(5);
  window.ack(5);
  expect(() => window.ack(1)).toThrow("0 are not acknowledged");
});

it("does not hold while it is lifted, and counts on", async () => {
  const window = new OutputWindow(10);
  await window.take(10);
  const waiting = window.take(5);
  window.lifted = true;
  expect(await waiting).toBe(5);
  expect(await window.take(100)).toBe(100);
  window.lifted = false;
  const held = window.take(1);
  window.ack(105);
  expect(await settled(held)).toBe(false);
  window.ack(1);
  expect(await held).toBe(1);
});
