import { CaissonError, isCaissonError, toCaissonError, type Clock, type HostSandbox, type SandboxHost } from "@caisson/contract";
import type { SandboxRecord } from "@caisson/store";
import { withDeadline } from "./with-deadline.ts";

/** What came of one start. */
export type StartAttempt =
  | { readonly kind: "started"; readonly box: HostSandbox }
  /** The worker said no, for certain. */
  | { readonly kind: "refused"; readonly error: CaissonError }
  /** There was no way to ask. */
  | { readonly kind: "unsent" }
  /** It was asked, and what it did is not known. */
  | { readonly kind: "unknown" };

/** One start on a worker. Never rejects. */
export async function attemptStart(
  host: SandboxHost | undefined,
  sandbox: SandboxRecord,
  wait: { readonly clock: Clock; readonly ms: number; readonly signal: AbortSignal },
): Promise<StartAttempt> {
  if (host === undefined) return { kind: "unsent" };
  const { id, epoch, env, spec } = sandbox;
  try {
    const box = await withDeadline({ ...wait, what: "the start of the sandbox" }, (inner) =>
      host.start({ ...spec, sandboxId: id, epoch, env }, inner),
    );
    if (box.sandboxId !== id || box.epoch !== epoch) {
      throw new CaissonError("protocol_error", "The worker answered with another sandbox or epoch than it was asked to start.");
    }
    if (box.state === "stopped") throw new CaissonError("provider_failed", box.reason ?? "The box ended as soon as it had started.");
    return { kind: "started", box };
  } catch (error) {
    // The link had ended before the call was made. Only our own side of it says so: nothing that a worker answers does.
    if (isCaissonError(error, "worker_unavailable") && error.unsent) return { kind: "unsent" };
    if (isCaissonError(error, "worker_unavailable", "cancelled")) return { kind: "unknown" };
    return { kind: "refused", error: toCaissonError(error) };
  }
}
