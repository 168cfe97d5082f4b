import { usageError } from "../program/cli-error.ts";

/** A TCP port as it is typed. */
export function parsePort(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (port >= 1 && port <= 65_535) return port;
  throw usageError(`${JSON.stringify(text)} is no TCP port.`, "Name a number from 1 to 65535.");
}
