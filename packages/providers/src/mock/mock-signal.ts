import { constants } from "node:os";

/** Signals that do not end a process unless it wants to. */
const HARMLESS = new Set(["CHLD", "CONT", "URG", "WINCH"]);

/** The name of a signal without SIG, from a name or number; undefined when there is none. */
export function signalName(text: string): string | undefined {
  const wanted = text.replace(/^SIG/, "");
  for (const [name, number] of Object.entries(constants.signals))
    if (name === `SIG${wanted}` || String(number) === wanted) return name.slice(3);
  return undefined;
}

/** Whether a signal ends a process that does nothing about it. */
export function endsProcess(signal: string): boolean {
  return !HARMLESS.has(signal);
}
