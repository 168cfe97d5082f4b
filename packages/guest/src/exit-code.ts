import { constants } from "node:os";
import type { Exit } from "./guest.ts";

/** Exit code of a process as shells count it: 128 + n when signal n ended it. */
export function exitCodeOf(exit: Pick<Exit, "code" | "signal">): number {
  if (exit.code !== null) return exit.code;
  return 128 + signalNumber(exit.signal ?? "");
}

function signalNumber(name: string): number {
  const known = (constants.signals as Readonly<Record<string, number>>)[`SIG${name}`];
  if (known !== undefined) return known;
  if (/^\d{1,3}$/.test(name)) return Number(name);
  const realtime = /^RT(MIN\+|MAX-)(\d{1,2})$/.exec(name);
  return realtime === null ? 0 : realtime[1] === "MIN+" ? 34 + Number(realtime[2]) : 64 - Number(realtime[2]);
}
