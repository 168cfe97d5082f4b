import type { ProviderReport } from "@caisson/contract";

/** What runs sandboxes on this machine, in a line for people. */
export function providerLine(providers: readonly ProviderReport[], wanted: string): string {
  const chosen = providers.find((provider) => provider.default);
  if (chosen === undefined) return "  provider  none works on this machine: `npx caisson doctor` says why, and how to mend it";
  const runtime = chosen.runtimes.find((one) => one.available);
  const why = wanted === "auto" ? "the strongest that works here" : "as configured";
  return `  provider  ${chosen.name}${runtime === undefined ? "" : ` with ${runtime.name}`} (${chosen.tier}), ${why}`;
}
