import { join } from "node:path";
import type { Clock, Config, Random } from "@caisson/contract";
import {
  bubblewrapProvider,
  MockMachine,
  MockProvider,
  ociProvider,
  type OciOptions,
  type Provider,
  type ProviderContext,
} from "@caisson/providers";
import { requireAgent } from "./agent-path.ts";

/** What providers share. */
export interface ProviderParts {
  readonly dataDir: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: ProviderContext["log"];
}

/** The enabled providers, best first; the configured default before all. */
export function createProviders(config: Config["providers"], parts: ProviderParts): readonly Provider[] {
  const context = (name: string, agentPath: string): ProviderContext => ({
    dir: join(parts.dataDir, "providers", name),
    agentPath,
    clock: parts.clock,
    random: parts.random,
    log: parts.log,
  });
  const providers: Provider[] = [];
  if (config.oci.enabled) providers.push(ociProvider(context("oci", requireAgent()), ociOptions(config.oci)));
  if (config.bubblewrap.enabled) {
    providers.push(bubblewrapProvider(context("bubblewrap", requireAgent()), { program: config.bubblewrap.bwrap_path }));
  }
  if (config.mock.enabled) providers.push(new MockProvider(new MockMachine(parts.clock), parts));
  return providers.sort((a, b) => Number(b.name === config.default) - Number(a.name === config.default));
}

function ociOptions(config: Config["providers"]["oci"]): OciOptions {
  const programs = { crun: config.crun_path, runc: config.runc_path, runsc: config.runsc_path };
  return { programs, ...(config.runtime === "auto" ? {} : { runtime: config.runtime }) };
}
