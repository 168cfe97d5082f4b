import { CaissonError, type Clock } from "@caisson/contract";
import { killGroups } from "../cgroups/cgroup-control.ts";
import type { ProviderContext } from "../contract/provider.ts";
import { isAlive, signalProcess, type ProcessIdentity } from "../supervisor/process-identity.ts";
import type { BoxRecord } from "./box-record.ts";
import { supervisedBy } from "./box-status.ts";

/** The supervisor's own deadline for its end, and time to write it down. */
const SUPERVISOR_LIMIT_MS = 7_000;
const LEFTOVER_LIMIT_MS = 5_000;

/**
 * Ends every process of a box: its supervisor does it; where that is gone or stuck, the box's groups are emptied.
 * `ending` settles when the supervisor ends, where it is a child of ours.
 */
export async function endBox(dir: string, record: BoxRecord, ending: Promise<void> | undefined, context: ProviderContext): Promise<void> {
  const { clock } = context;
  const supervisor = supervisedBy(dir, record);
  if (supervisor !== undefined) {
    signalProcess(supervisor, "SIGTERM");
    if (!(await ended(supervisor, ending, SUPERVISOR_LIMIT_MS, clock))) {
      context.log("warn", "a supervisor did not end in time and is killed", { sandbox: record.sandboxId, pid: supervisor.pid });
      signalProcess(supervisor, "SIGKILL");
      await ended(supervisor, ending, LEFTOVER_LIMIT_MS, clock);
    }
  }
  const deadline = clock.monotonic() + LEFTOVER_LIMIT_MS;
  while (killGroups(record.cgroups) > 0) {
    if (clock.monotonic() > deadline) throw new CaissonError("provider_failed", "Processes of the sandbox cannot be killed.");
    await clock.sleep(2);
  }
}

async function ended(process: ProcessIdentity, ending: Promise<void> | undefined, limitMs: number, clock: Clock): Promise<boolean> {
  const deadline = clock.monotonic() + limitMs;
  if (ending !== undefined) {
    const limit = new AbortController();
    await Promise.race([ending, clock.sleep(limitMs, limit.signal).catch(() => undefined)]);
    limit.abort();
  }
  while (isAlive(process)) {
    if (clock.monotonic() > deadline) return false;
    await clock.sleep(2);
  }
  return true;
}
