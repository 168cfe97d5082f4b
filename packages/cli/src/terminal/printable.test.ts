import { expect, it, vi } from "vitest";
import { printable, printableJson } from "./printable.ts";
import { printTable } from "./table.ts";

/** A title for the window, a wiped screen, the same in one byte, a turned-around name, a line of its own, and honest letters. */
const HOSTILE = "\u001b]0;owned\u0007\u001b[2J\u009b31m\u202etxt.exe\u2028new\nline\u007f\ufeff é 漢 😀";
const STEERING = /[\p{C}\p{Zl}\p{Zp}]/u;

it("lets nothing through that steers a terminal", () => {
  const shown = printable(HOSTILE);
  expect(shown).not.toMatch(STEERING);
  expect(shown).toMatch(/^\?\]0;owned\?\?\[2J\?31m\?txt\.exe\?new\?line\?\? é 漢 😀$/u);
  expect(printable("abcdef", 3)).toBe("abc");
});

it("escapes it in JSON, which is read back as it was", () => {
  const value = { [HOSTILE]: [HOSTILE] };
  expect(printableJson(value)).not.toMatch(STEERING);
  expect(printableJson(value, 2).replaceAll("\n", "")).not.toMatch(STEERING);
  expect(JSON.parse(printableJson(value))).toEqual(value);
  expect(JSON.parse(printableJson(value, 2))).toEqual(value);
});

it("keeps every row of a table one harmless line", () => {
  const written: string[] = [];
  const write = vi.spyOn(process.stdout, "write").mockImplementation((text) => written.push(String(text)) > 0);
  try {
    printTable(["NAME"], [[HOSTILE], ["plain"]]);
  } finally {
    write.mockRestore();
  }
  const lines = written.join("").split("\n");
  expect(lines).toHaveLength(4);
  for (const line of lines.slice(1)) expect(line).not.toMatch(STEERING);
});
