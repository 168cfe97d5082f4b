import { rmSync } from "node:fs";
import { parseDuration, systemClock, systemRandom, VERSION, type Config, type Random, type WorkerDescription } from "@caisson/contract";
import {
  controlDefaults,
  ConnectedHosts,
  fleetSettings,
  Orchestrator,
  RegisteredIdentities,
  retentionOf,
  webhookRetriesOf,
  WorkerImages,
} from "@caisson/control";
import { GuestClient } from "@caisson/guest";
import { createServer, sendWebhook, type DialTrust } from "@caisson/server";
import type { LocalHost } from "@caisson/worker";
import type { Logger } from "pino";
import { readServerFile, serverFilePath } from "../client/local-server.ts";
import { resolveDataDir } from "../config/data-dir.ts";
import { advertisedUrl } from "./advertised-url.ts";
import { agreeOnKeys, type Credentials } from "./credentials.ts";
import { logFunction } from "./create-logger.ts";
import { localFacts } from "./local-facts.ts";
import { bindLocalWorker, localWorkerId } from "./local-worker.ts";
import { openDataDir } from "./open-data-dir.ts";
import { explainListen } from "./explain-listen.ts";
import { openHost } from "./open-host.ts";
import { openStore } from "./open-store.ts";
import { openTlsFiles } from "./tls-files.ts";
import { trustedCertificates } from "./trusted-certificates.ts";
import { openTokens } from "./open-tokens.ts";
import { openWorkerLinks } from "./open-worker-links.ts";
import { verifyStoredKeys } from "./stored-keys.ts";
import { workerTokens } from "./worker-tokens.ts";
import { writePrivateFile } from "./write-file.ts";

/** A server that listens. */
export interface OpenServer extends AsyncDisposable {
  readonly url: string;
  readonly dataDir: string;
  readonly credentials: Credentials;
  /** What the worker inside it found it can do; resolves when its providers were probed, undefined when it has none. */
  describe(): Promise<WorkerDescription | undefined>;
  /** How many sandboxes have not ended. */
  countSandboxes(): Promise<number>;
}

/**
 * Puts the house together: data folder, keys, providers, images, worker, store, orchestrator, HTTP. What was opened is closed
 * in the opposite order, at the end or when a later step fails. Sandboxes live on.
 */
export async function openServer(config: Config, logger: Logger): Promise<OpenServer> {
  await using opening = new AsyncDisposableStack();
  const dataDir = opening.use(openDataDir(resolveDataDir(config))).path;
  const random = systemRandom;
  const workerId = localWorkerId(config);
  const { store, clock } = await openStore(config);
  opening.use(store);
  const shared = config.database.driver === "postgres";
  const credentials = await agreeOnKeys({ store, dataDir, auth: config.auth, random, now: clock.now(), shared });
  if (shared && workerId !== undefined) await bindLocalWorker(store, workerId, dataDir, random);
  const tokenMs = parseDuration(config.workers.token_ttl);
  const identities = new RegisteredIdentities({
    store,
    clock,
    random,
    tokens: workerTokens(config.auth),
    logger,
    ...(tokenMs === undefined ? {} : { tokenMs }),
  });

  const previewDomain = config.server.preview_domain;
  let host: LocalHost | undefined;
  if (workerId !== undefined) {
    const local = await openHost({ config, workerId, dataDir, previewDomain, logger });
    opening.defer(() => local.close());
    host = local;
  }
  const controlPlaneId = newControlPlaneId(random);
  const hosts = new ConnectedHosts();

  const orchestrator = new Orchestrator({
    clock,
    random,
    store,
    hosts,
    defaults: controlDefaults(config),
    fleet: fleetSettings(config),
    identities,
    keys: () => identities.publicKeys(),
    // Alone on its database it is always the same one: what it held before a restart is its own still.
    ...(shared ? { controlPlane: { id: controlPlaneId, url: advertisedUrl(config.server), build: VERSION } } : {}),
    retention: retentionOf(config),
    webhooks: { send: sendWebhook, retriesMs: webhookRetriesOf(config) },
    logger,
    guestOf: (opener) => new GuestClient(opener),
  });
  opening.defer(() => orchestrator.close());
  if (host !== undefined) orchestrator.attach(host, localFacts(host, config, dataDir, logger));
  await orchestrator.start();
  const ca = trustedCertificates("workers.ca_file", config.workers.ca_file);
  const trust: DialTrust = async () => ({
    installation: await identities.keys.installation(),
    authority: (await identities.keys.authority()).certificate,
    ca,
  });
  const workerLinks = openWorkerLinks({ controlPlaneId, identities, sessions: orchestrator.sessions, store, trust, logger });
  opening.use(workerLinks);

  const tls = openTlsFiles(config.server.tls, [(await identities.keys.authority()).certificate]);
  const server = await createServer({
    operations: orchestrator,
    images: new WorkerImages({ hosts, store, clock: systemClock, logger }),
    workers: orchestrator.workers,
    keys: await verifyStoredKeys(store.keys, systemClock),
    tokens: await openTokens({ store, dataDir, clock: systemClock, keys: identities.keys }),
    identities,
    workerLinks: workerLinks.links,
    ...(shared ? { siblings: { id: controlPlaneId, farWorkers: orchestrator.farWorkers, ca } } : {}),
    version: VERSION,
    corsAllowedOrigins: config.server.cors_allowed_origins,
    ...(tls === undefined ? {} : { tls: tls.current }),
    previews: {
      domain: previewDomain,
      scheme: tls === undefined ? "http" : "https",
      ...(config.server.preview_url === undefined ? {} : { url: config.server.preview_url }),
    },
    execTimeoutMs: parseDuration(config.defaults.exec_timeout) ?? 0,
    maxExecTimeoutMs: parseDuration(config.defaults.max_exec_timeout) ?? 0,
    logger,
    clock: systemClock,
    random,
  });
  opening.defer(() => server.close());
  if (tls !== undefined) opening.use(tls.follow((changed) => server.setTls(changed), systemClock, logFunction(logger)));
  const url = await server.listen(config.server).catch((error: unknown) => {
    throw explainListen(error, config.server, { host: "--host or server.host", port: "--port or server.port" });
  });
  writePrivateFile(serverFilePath(dataDir), `${JSON.stringify({ url, pid: process.pid })}\n`);
  opening.defer(() => {
    if (readServerFile(dataDir)?.pid === process.pid) rmSync(serverFilePath(dataDir), { force: true });
  });

  const opened = opening.move();
  return {
    url,
    dataDir,
    credentials,
    describe: async () => host?.describe(),
    countSandboxes: async () => (await orchestrator.list({ limit: 1000 })).items.length,
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

/** A name for this run of a control plane. */
function newControlPlaneId(random: Random): string {
  return `cp${Buffer.from(random.bytes(8)).toString("hex")}`;
}
