import type { SandboxEnd } from "@caisson/contract";
import type { SandboxFacts } from "@caisson/control";

/** How a sandbox ended, as streams tell it. */
export function endOf({ state, reason }: SandboxFacts): SandboxEnd {
  return { state, reason };
}
