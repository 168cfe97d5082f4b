import { readFileSync } from "node:fs";
import process from "node:process";
import { hasSystemCode } from "../cgroups/cgroup-file.ts";

/** A process that cannot be mistaken for a later one with its pid. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Field 22 of `/proc/PID/stat`: clock ticks from boot to its start. */
  readonly startTicks: number;
}

/** Reads `PID START-TICKS` as a supervisor leaves it in its lock file. */
export function parseIdentity(text: string): ProcessIdentity | undefined {
  const match = /^(\d+) (\d+)\s*$/.exec(text);
  return match === null ? undefined : { pid: Number(match[1]), startTicks: Number(match[2]) };
}

/** Whether the very process still runs; one that waits to be reaped does not. */
export function isAlive(identity: ProcessIdentity): boolean {
  try {
    const stat = readFileSync(`/proc/${identity.pid}/stat`, "utf8");
    // The name in parentheses may hold blanks; field 3 follows the last one.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const [state] = fields;
    return Number(fields[22 - 3]) === identity.startTicks && state !== "Z" && state !== "X";
  } catch (error) {
    if (hasSystemCode(error, "ENOENT", "ESRCH")) return false;
    throw error;
  }
}

/** Sends a signal to the very process; one that is gone is fine. */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): void {
  if (!isAlive(identity)) return;
  try {
    process.kill(identity.pid, signal);
  } catch (error) {
    if (!hasSystemCode(error, "ESRCH")) throw error;
  }
}

/** Id of this boot of the machine: pids of another boot mean nothing. */
export function bootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
}
