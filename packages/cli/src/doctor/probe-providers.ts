import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { NO_CAPABILITIES, systemClock, systemRandom, toCaissonError, type Config, type ProviderReport } from "@caisson/contract";
import { createProviders } from "../serve/create-providers.ts";

/** Time for one provider to be probed, in ms. */
const PROBE_MS = 60_000;

/** Probes every enabled provider by itself, in a folder of its own; no server is needed. The default comes first. */
export async function probeProviders(config: Config["providers"]): Promise<readonly ProviderReport[]> {
  const dataDir = mkdtempSync(join(tmpdir(), "caisson-doctor-"));
  try {
    const providers = createProviders(config, { dataDir, clock: systemClock, random: systemRandom, log: () => undefined });
    const reports: ProviderReport[] = [];
    for (const provider of providers) {
      const report = await provider.probe(AbortSignal.timeout(PROBE_MS)).catch((error: unknown): ProviderReport => ({
        name: provider.name,
        tier: provider.tier,
        available: false,
        reason: toCaissonError(error).message,
        capabilities: NO_CAPABILITIES,
        runtimes: [],
      }));
      reports.push({ ...report, default: report.available && !reports.some((one) => one.default) });
    }
    return reports;
  } finally {
    rmSync(dataDir, { recursive: true, force: true });
  }
}
