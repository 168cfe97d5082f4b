import { expect, test } from "vitest";
import { ScreenModes } from "./screen-modes.ts";

function after(...pieces: string[]): ScreenModes {
  const modes = new ScreenModes();
  for (const piece of pieces) modes.take(Buffer.from(piece));
  return modes;
}

test("nothing is undone where nothing was done", () => {
  expect(after("plain \x1b[31mred\x1b[m").undo()).toBe("");
  expect(after("\x1b[?1049h\x1b[?25l", "edit", "\x1b[?25h\x1b[?1049l").undo()).toBe("");
});

test("what an editor leaves behind is undone", () => {
  const modes = after("\x1b[?1049;2004h\x1b[?25l\x1b[?1000h");
  expect(modes.fullScreen).toBe(true);
  expect(modes.undo()).toBe("\x1b[?1049l\x1b[?2004l\x1b[?25h\x1b[?1000l\x1b[m");
});

test("a sequence may come in pieces of any size", () => {
  const whole = "x\x1b[?1049h\x1b[2J\x1b[?25lxyz";
  for (let cut = 1; cut < whole.length; cut += 1)
    expect(after(whole.slice(0, cut), whole.slice(cut)).undo()).toBe("\x1b[?1049l\x1b[?25h\x1b[m");
  expect(after(...whole.split("")).fullScreen).toBe(true);
});

test("what is no sequence costs nothing", () => {
  expect(after("\x1b".repeat(100_000), "\x1b[?" + "9".repeat(1_000) + "h", "\x1b[?9999h").undo()).toBe("");
});
