import { printable } from "./printable.ts";
import { bold } from "./style.ts";
import { print } from "./write-out.ts";

/** Prints rows in columns below their titles. Whatever the cells hold, each row is one line. */
export function printTable(titles: readonly string[], given: readonly (readonly string[])[]): void {
  const rows = given.map((row) => row.map((cell) => printable(cell)));
  const widths = titles.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    cells.map((cell, i) => (i === cells.length - 1 ? cell : cell.padEnd(widths[i] ?? 0))).join("  ");
  print(bold(line(titles)));
  for (const row of rows) print(line(row));
}
