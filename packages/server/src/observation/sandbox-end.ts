import type { Sandbox, SandboxEnd } from "@caisson/contract";

/** How a sandbox ended, as streams tell it. */
export function endOf({ state, reason }: Sandbox): SandboxEnd {
  return { state, reason };
}
