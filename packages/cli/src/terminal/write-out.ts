import { once } from "node:events";
import { printableJson } from "./printable.ts";

/** Writes bytes or text to standard output or error; resolves when there is room for more, so awaiting it is back-pressure. */
export async function writeOut(stream: "stdout" | "stderr", data: Uint8Array | string): Promise<void> {
  const target = process[stream];
  if (!target.write(data)) await once(target, "drain");
}

/** Prints one line of the answer. */
export function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** Prints a value as JSON. */
export function printJson(value: unknown): void {
  print(printableJson(value, process.stdout.isTTY ? 2 : undefined));
}

/** Prints a value as JSON in one line, as one of many. */
export function printJsonLine(value: unknown): void {
  print(printableJson(value));
}
