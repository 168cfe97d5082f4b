import { CaissonError, type Capabilities, type Capability, type ProviderReport, type RuntimeReport } from "@caisson/contract";
import type { BoxSpec } from "../contract/provider.ts";

/** The runtime a box gets: the one it names, or the best that works. Undefined where the technology has none. */
export function chooseRuntime(report: ProviderReport, name: string | undefined): RuntimeReport | undefined {
  if (!report.available)
    throw new CaissonError("provider_unavailable", `${report.name} does not work on this machine: ${report.reason ?? "see the report"}.`, {
      detail: { provider: report.name, ...(report.remedy === undefined ? {} : { remedy: report.remedy }) },
    });
  if (name === undefined) return report.runtimes.find((runtime) => runtime.available);
  const runtime = report.runtimes.find((candidate) => candidate.name === name);
  if (runtime?.available === true) return runtime;
  const reason = runtime?.reason ?? `${report.name} knows no such runtime`;
  throw new CaissonError("unsupported", `The runtime ${name} cannot be used: ${reason}.`, {
    detail: { runtime: name, ...(runtime?.remedy === undefined ? {} : { remedy: runtime.remedy }) },
  });
}

/** Refuses what could not be enforced, before anything is made. */
export function refuseUnenforceable(spec: BoxSpec, report: ProviderReport, runtime: RuntimeReport | undefined): void {
  const capabilities: Capabilities = runtime?.capabilities ?? report.capabilities;
  const wanted: [Capability, boolean, string][] = [
    ["limit_memory", spec.resources.memoryMb !== undefined, "memory_mb"],
    ["limit_cpu", spec.resources.vcpus !== undefined, "vcpus"],
    ["limit_pids", spec.resources.pids !== undefined, "pids"],
    ["limit_disk", spec.resources.diskMb !== undefined, "disk_mb"],
    ["images", spec.rootfs.kind === "folder", "image"],
    ["users", spec.user !== undefined && spec.user !== "user", "user"],
  ];
  for (const [capability, asked, field] of wanted) {
    if (!asked || capabilities[capability]) continue;
    const known = (report.limits as Readonly<Record<string, string>> | undefined)?.[capability];
    const reason = known ?? (runtime === undefined ? "this machine cannot enforce it" : `the runtime ${runtime.name} cannot enforce it`);
    throw new CaissonError("unsupported", `${field} cannot be honoured by ${report.name} here: ${reason}.`, {
      detail: { field, capability, provider: report.name },
    });
  }
}
