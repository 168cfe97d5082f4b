import { CaissonError, type Clock } from "@caisson/contract";
import type { AttachedProcess, ProcessOutput } from "@caisson/guest";
import { PatientReader } from "../http/patient-reader.ts";

/** How long the end of a process is waited for. */
export interface OutputBounds {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Timeout of the process in ms, when it has one: the sandbox enforces it, the reader makes sure that it did. */
  readonly timeoutMs?: number;
  /** How long a silent sandbox is waited for after that, in ms. */
  readonly graceMs: number;
}

/** Reads the output of a process, which the caller detaches from in the end. */
export function readOutput(attached: AttachedProcess, bounds: OutputBounds): PatientReader<ProcessOutput> {
  const { clock, signal, timeoutMs, graceMs } = bounds;
  return new PatientReader<ProcessOutput>(attached, {
    clock,
    signal,
    silentMs: graceMs,
    late: () => new CaissonError("agent_unreachable", "The sandbox did not report the end of the command after its timeout."),
    ...(timeoutMs === undefined ? {} : { fromMs: timeoutMs }),
  });
}
