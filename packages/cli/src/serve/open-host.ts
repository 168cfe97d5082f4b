import { join } from "node:path";
import { parseDuration, systemClock, systemRandom, type Config } from "@caisson/contract";
import { ImageStore, LocalHost, type LocalHostOptions } from "@caisson/worker";
import type { Logger } from "pino";
import { logFunction } from "./create-logger.ts";
import { createProviders } from "./create-providers.ts";

/** What this machine is opened as. */
export interface OpenHostOptions {
  readonly config: Pick<Config, "providers" | "images">;
  readonly workerId: string;
  readonly dataDir: string;
  /** Domain below which this worker itself shows ports; undefined: it shows none. */
  readonly previewDomain: string | undefined;
  /** A box changed by itself. Default: nobody is told. */
  readonly changed?: LocalHostOptions["changed"];
  readonly logger: Logger;
}

/** This machine as a worker, with its providers and images: what an earlier run left is taken over. Close it at the end. */
export async function openHost({ config, workerId, dataDir, previewDomain, changed, logger }: OpenHostOptions): Promise<LocalHost> {
  const log = logFunction(logger);
  const parts = { clock: systemClock, random: systemRandom, log };
  const providers = createProviders(config.providers, { dataDir, ...parts });
  const images = new ImageStore({
    dir: join(dataDir, "images"),
    ...parts,
    insecureRegistries: config.images.insecure_registries,
    keepUnusedMs: parseDuration(config.images.keep_unused) ?? 0,
  });
  await images.open();
  const given = { ...(previewDomain === undefined ? {} : { previewDomain }), ...(changed === undefined ? {} : { changed }) };
  const host = new LocalHost({ workerId, dataDir, providers, images, ...parts, ...given });
  await host.open();
  return host;
}
