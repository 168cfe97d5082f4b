import { CaissonError } from "@caisson/contract";
import type { Patience } from "../http/patient-reader.ts";
import type { DataServices } from "../server-options.ts";

/** How long a sandbox may be silent in the middle of what it sends; `what` says of what in the error. */
export function guestPatience({ clock, limits }: DataServices, signal: AbortSignal, what: string): Patience {
  return {
    clock,
    signal,
    fromMs: 0,
    silentMs: limits.guestSilenceMs,
    late: () => new CaissonError("agent_unreachable", `The sandbox stopped answering in the middle of ${what}.`),
  };
}

/** For work that may be silent as long as it takes: only whoever asked for it can lose patience. */
export function callersPatience({ clock }: DataServices, signal: AbortSignal): Patience {
  const late = (): CaissonError => new CaissonError("internal", "Nobody was to wait for this.");
  return { clock, signal, silentMs: Number.POSITIVE_INFINITY, late };
}
