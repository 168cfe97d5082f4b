import { CaissonError, isErrorCode, isTerminal } from "@caisson/contract";
import type { SandboxRecord } from "@caisson/store";

/** The error for an id that no sandbox has. */
export function sandboxNotFound(id: string): CaissonError {
  return new CaissonError("sandbox_not_found", `There is no sandbox ${id}.`, { detail: { sandbox_id: id } });
}

/** The error for a sandbox that has ended. */
export function sandboxEnded(record: SandboxRecord, cause?: unknown): CaissonError {
  return new CaissonError("sandbox_destroyed", `The sandbox is ${record.state}.`, {
    cause,
    detail: { state: record.state, reason: record.reason },
  });
}

/** The error for a sandbox whose worker cannot be reached. */
export function workerUnavailable(record: SandboxRecord): CaissonError {
  return new CaissonError("worker_unavailable", `The worker ${record.workerId} cannot be reached.`, {
    detail: { worker_id: record.workerId },
    retryAfter: 10,
  });
}

/** A creation as its caller hears of it: the sandbox, or why there is none. */
export function created(record: SandboxRecord): SandboxRecord {
  // It ran once: then it is what was asked for, whatever became of it.
  if (record.startedAt !== null) return record;
  const detail = { sandbox_id: record.id, state: record.state };
  if (record.state === "error") {
    const code = isErrorCode(record.reason?.code) ? record.reason.code : "provider_failed";
    throw new CaissonError(code, record.reason?.message ?? "The sandbox could not be started.", { detail });
  }
  if (isTerminal(record.state)) throw new CaissonError("sandbox_destroyed", "The sandbox was ended before it ran.", { detail });
  throw new CaissonError("deadline_exceeded", "The sandbox is still being created.", { detail, retryAfter: 1 });
}
