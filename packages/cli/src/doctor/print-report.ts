import type { Capabilities, ProviderReport } from "@caisson/contract";
import { bold, dim, green, red, yellow } from "../terminal/style.ts";
import { print } from "../terminal/write-out.ts";
import type { Check } from "./check.ts";

const MARKS = { ok: green("✓"), warn: yellow("!"), fail: red("✗") };

const LIMITS: readonly (readonly [keyof Capabilities, string])[] = [
  ["limit_memory", "memory"],
  ["limit_cpu", "cpu"],
  ["limit_pids", "pids"],
  ["limit_disk", "disk"],
];

/** Prints what each provider can do, and how to mend what it cannot. */
export function printProviders(providers: readonly ProviderReport[]): void {
  print(bold("Providers"));
  for (const provider of providers) {
    const mark = provider.available ? MARKS.ok : MARKS.fail;
    const limits = LIMITS.filter(([name]) => provider.capabilities[name]).map(([, word]) => word);
    const can = [
      limits.length === 0 ? "no limits" : `limits: ${limits.join(", ")}`,
      ...(provider.capabilities.images ? ["images"] : ["host image only"]),
    ];
    print(
      `  ${mark} ${provider.name} ${dim(`(${provider.tier})`)}${provider.default ? bold("  default") : ""}  ${provider.available ? can.join("; ") : (provider.reason ?? "")}`,
    );
    if (!provider.available) printRemedy(provider.remedy, "      ");
    for (const runtime of provider.runtimes) {
      print(
        `      ${runtime.available ? MARKS.ok : MARKS.warn} ${runtime.name}${runtime.version === undefined ? "" : ` ${runtime.version}`}${runtime.available ? "" : `: ${runtime.reason ?? "does not work"}`}`,
      );
      if (!runtime.available) printRemedy(runtime.remedy, "          ");
    }
    for (const reason of new Set(provider.available ? Object.values(provider.limits ?? {}) : [])) print(dim(`        ${reason}`));
  }
}

/** Prints checks below a title. */
export function printChecks(title: string, checks: readonly Check[]): void {
  print(bold(title));
  for (const check of checks) {
    print(`  ${MARKS[check.state]} ${check.name}: ${check.detail}`);
    printRemedy(check.remedy, "      ");
  }
}

function printRemedy(remedy: string | undefined, indent: string): void {
  if (remedy !== undefined && remedy !== "") print(`${indent}→ ${remedy}`);
}
