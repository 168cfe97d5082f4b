import { expect, test, vi } from "vitest";
import { DetachKeys } from "./detach-keys.ts";

function typed(...pieces: string[]): { text: string; left: boolean[] } {
  let text = "";
  using keys = new DetachKeys((bytes) => {
    text += Buffer.from(bytes).toString("latin1");
  });
  const left = pieces.map((piece) => keys.take(Buffer.from(piece, "latin1")));
  return { text, left };
}

test("the keys are found however they come, and what was typed before is passed on", () => {
  expect(typed("ls\r\x10\x11rest")).toEqual({ text: "ls\r", left: [true] });
  expect(typed("a\x10", "\x11")).toEqual({ text: "a", left: [false, true] });
  expect(typed("\x10\x10", "\x11")).toEqual({ text: "\x10", left: [false, true] });
});

test("one of them alone is typed", () => {
  expect(typed("\x11")).toEqual({ text: "\x11", left: [false] });
  expect(typed("\x10", "x")).toEqual({ text: "\x10x", left: [false, false] });
});

test("a first key that waits in vain is typed", () => {
  vi.useFakeTimers();
  let text = "";
  using keys = new DetachKeys((bytes) => {
    text += Buffer.from(bytes).toString("latin1");
  });
  keys.take(Buffer.from("\x10"));
  expect(text).toBe("");
  vi.advanceTimersByTime(1_000);
  expect(text).toBe("\x10");
  expect(keys.take(Buffer.from("\x11"))).toBe(false);
  vi.useRealTimers();
});
