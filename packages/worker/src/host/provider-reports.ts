import { NO_CAPABILITIES, toCaissonError, type Clock, type ProviderReport } from "@caisson/contract";
import type { Provider, ProviderContext } from "@caisson/providers";
import { withDeadline } from "../durable/deadline.ts";

const PROBE_DEADLINE_MS = 60_000;
/** How long a report is taken to be true, in ms. An older one is still given while the next is made. */
const FRESH_MS = 600_000;

/** What each provider can do here. A probe really boots boxes, so its report is kept for a while. */
export class ProviderReports {
  readonly #providers: readonly Provider[];
  readonly #clock: Clock;
  readonly #log: ProviderContext["log"];
  #reports: readonly ProviderReport[] | undefined;
  #probedAt = Number.NEGATIVE_INFINITY;
  #probing: Promise<readonly ProviderReport[]> | undefined;

  constructor(providers: readonly Provider[], clock: Clock, log: ProviderContext["log"]) {
    this.#providers = providers;
    this.#clock = clock;
    this.#log = log;
  }

  /** The reports; waits only when there were none yet. */
  async get(): Promise<readonly ProviderReport[]> {
    if (this.#reports === undefined) return this.refresh();
    if (this.#clock.monotonic() - this.#probedAt > FRESH_MS) void this.refresh();
    return this.#reports;
  }

  /** Probes all providers at once; joins a probe under way. Never rejects: what fails is reported as not available. */
  refresh(): Promise<readonly ProviderReport[]> {
    this.#probing ??= Promise.all(this.#providers.map((provider) => this.#probe(provider))).then((probed) => {
      const reports = withDefault(probed);
      this.#reports = reports;
      this.#probedAt = this.#clock.monotonic();
      this.#probing = undefined;
      return reports;
    });
    return this.#probing;
  }

  async #probe(provider: Provider): Promise<ProviderReport> {
    const probed_at = new Date(this.#clock.now()).toISOString();
    const doing = `probing the provider ${provider.name}`;
    try {
      const report = await withDeadline({ clock: this.#clock, ms: PROBE_DEADLINE_MS, doing }, (signal) => provider.probe(signal));
      return { probed_at, ...report };
    } catch (error) {
      const { message, entry } = toCaissonError(error);
      this.#log("warn", "a provider could not be probed", { provider: provider.name, error: message });
      return {
        name: provider.name,
        tier: provider.tier,
        available: false,
        reason: message,
        remedy: entry.remedy,
        capabilities: NO_CAPABILITIES,
        runtimes: [],
        probed_at,
      };
    }
  }
}

/** Marks the first that works: providers come best first. */
function withDefault(reports: readonly ProviderReport[]): readonly ProviderReport[] {
  const best = reports.find((report) => report.available);
  return reports.map((report) => ({ ...report, default: report === best }));
}
