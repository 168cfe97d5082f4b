import { createHash } from "node:crypto";
import { systemClock, systemRandom, type Config } from "@caisson/contract";
import type { WorkerFacts } from "@caisson/control";
import { HeartbeatSource, type LocalHost } from "@caisson/worker";
import type { Logger } from "pino";
import { logFunction } from "./create-logger.ts";

/** What the worker inside a server says of itself: as one elsewhere does, but it is known at once what its providers can do. */
export function localFacts(host: LocalHost, config: Config, dataDir: string, logger: Logger): () => Promise<WorkerFacts> {
  const { labels, capacity, on_control_loss: onControlLoss } = config.worker;
  const source = new HeartbeatSource({
    host,
    dataDir,
    labels,
    capacity,
    previewDomain: config.server.preview_domain,
    // Its ports are shown by the server itself.
    previewUrl: null,
    publicUrl: null,
    publicUrlProblem: () => undefined,
    advertiseAddr: null,
    onControlLoss,
    clock: systemClock,
    random: systemRandom,
    log: logFunction(logger),
    news: () => undefined,
  });
  return async () => {
    const { providers } = await host.describe();
    const { session: _session, sequence: _sequence, ...facts } = await source.next(false);
    const digest = createHash("sha256").update(JSON.stringify(providers)).digest("base64url");
    return { ...facts, providers_digest: digest, providers: [...providers] };
  };
}
