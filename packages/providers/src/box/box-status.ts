import { bootId, isAlive, type ProcessIdentity } from "../supervisor/process-identity.ts";
import { readExitRecord, readSupervisor, type BoxRecord } from "./box-record.ts";

/** The living supervisor of a box; undefined when it has none. */
export function supervisedBy(dir: string, record: BoxRecord): ProcessIdentity | undefined {
  if (record.bootId !== bootId()) return undefined;
  const supervisor = readSupervisor(dir);
  return supervisor !== undefined && isAlive(supervisor) ? supervisor : undefined;
}

/** Why a box that has no supervisor stopped. */
export function observeBox(dir: string, record: BoxRecord): string {
  if (record.bootId !== bootId()) return "the machine was restarted";
  const exit = readExitRecord(dir);
  if (exit === undefined) return "its supervisor was killed";
  switch (exit.reason) {
    case "stopped":
      return "it was stopped";
    case "failed":
      return exit.message;
    case "exited": {
      if (exit.oomKills > 0 && exit.signal === 9) return "its agent was killed at the memory limit";
      return exit.signal === null ? `its agent ended with code ${exit.code}` : `its agent was killed by signal ${exit.signal}`;
    }
    default:
      return exit.reason satisfies never;
  }
}
