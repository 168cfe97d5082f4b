import {
  CaissonError,
  parseDuration,
  systemClock,
  systemRandom,
  VERSION,
  type CallOptions,
  type Config,
  type PortAccess,
  type PortAccessReply,
  type ProcessesChanged,
  type SandboxRef,
  type WorkerDescription,
} from "@caisson/contract";
import { GuestClient } from "@caisson/guest";
import { createWorkerServer, type DirectControl, type HttpServer } from "@caisson/server";
import { ChangeReports, ControlLoss, ControlPlanes, HeartbeatSource, LinkListener, WorkerLease, type ControlNews } from "@caisson/worker";
import { serveHost, type ControlClient } from "@caisson/worker-link";
import type { Logger } from "pino";
import { resolveWorkerDir } from "../config/data-dir.ts";
import { logFunction } from "../serve/create-logger.ts";
import { openDataDir } from "../serve/open-data-dir.ts";
import { explainListen } from "../serve/explain-listen.ts";
import { openHost } from "../serve/open-host.ts";
import { trustedCertificates } from "../serve/trusted-certificates.ts";
import { ControlTime } from "./control-time.ts";
import { advertisedAddress, parseAddress } from "./listen-address.ts";
import { openListenerTls } from "./listener-tls.ts";
import { openWorkerCredentials } from "./open-credentials.ts";
import { PublicUrlWatch } from "./public-url.ts";

/** For how long a worker goes on as one that has control before it ever had any, in ms. */
const GRACE_MS = 90_000;
/** Time for control planes to hear that the worker shuts down, in ms. */
const FAREWELL_MS = 2_000;

/** A worker that runs. */
export interface OpenWorker extends AsyncDisposable {
  readonly id: string;
  /** The control plane it begins with. */
  readonly controlPlaneUrl: string;
  readonly dataDir: string;
  /** Where it listens; undefined when it does not. */
  readonly url: string | undefined;
  /** Where control planes may dial it. */
  readonly advertised: string | null;
  describe(): Promise<WorkerDescription>;
  /** How many sandboxes are here. */
  readonly count: number;
  /** Takes nothing new, says so, and lets starts under way end, up to `worker.shutdown_timeout`. */
  drain(): Promise<void>;
}

/**
 * Puts a worker together: data folder, credential, providers, images, host, HTTP, links. What was opened is closed in the
 * opposite order, at the end or when a later step fails. Sandboxes live on.
 */
export async function openWorker(config: Config, logger: Logger, news: (news: ControlNews) => void): Promise<OpenWorker> {
  await using opening = new AsyncDisposableStack();
  const [clock, random, log] = [systemClock, systemRandom, logFunction(logger)];
  const heartbeatMs = parseDuration(config.worker.heartbeat_interval) ?? 0;
  const dataDir = opening.use(openDataDir(resolveWorkerDir(config))).path;
  let urls: readonly string[] = [];
  const identity = opening.use(await openWorkerCredentials({ config, dataDir, log, urls: () => urls }));
  const { workerId, source: credentials, known } = identity;
  const tls = openListenerTls(config.worker, credentials);

  const { preview_domain: previewDomain, preview_url: previewUrl, listen_addr: listenAddr } = config.worker;
  const reports = new ChangeReports(log);
  const changed = (ref: SandboxRef): void => reports.tell(ref);
  const host = await openHost({ config, workerId, dataDir, previewDomain, changed, logger });
  opening.defer(() => host.close());
  const loss = new ControlLoss({ policy: config.worker.on_control_loss, host, changed, clock, log });
  opening.defer(() => loss.close());
  const lease = new WorkerLease(clock, GRACE_MS, () => loss.lost("no control plane was heard for the length of the lease"));
  opening.defer(() => lease.close());
  const time = new ControlTime(clock);

  const admit = async (): Promise<void> => {
    if (!(await lease.holds()))
      throw new CaissonError("lease_lost", `The worker ${workerId} has heard no control plane for the length of its lease.`);
  };
  let draining = false;
  let url: string | undefined;
  let source: HeartbeatSource | undefined;
  let publicUrlWatch: PublicUrlWatch | undefined;
  const planes: ControlPlanes = new ControlPlanes({
    dataDir,
    firstUrl: identity.controlPlaneUrl,
    heartbeatMs,
    credentials,
    serve: (scopes) => serveHost(host, { scopes, admit }),
    heartbeat: (full) => (source ??= sourceOf()).next(full),
    answered: (reply, askedAt) => {
      lease.renew(askedAt, reply.lease_ms);
      loss.heard();
      urls = reply.control_planes.map((plane) => plane.url);
      if (reply.now !== undefined) time.learn(reply.now);
      void host.drain(draining || reply.drain).catch(() => undefined); // only a host that closes refuses, and takes nothing new either
    },
    news: (told) => {
      if (told.kind === "trouble" && told.forGood) loss.lost(told.error.message);
      news(told);
    },
    clock,
    random,
    log,
  });
  reports.planes = planes;
  const sourceOf = (): HeartbeatSource =>
    new HeartbeatSource({
      host,
      dataDir,
      labels: config.worker.labels,
      capacity: config.worker.capacity,
      previewDomain: previewDomain ?? null,
      previewUrl: previewUrl ?? defaultPreviewUrl(previewDomain, url),
      publicUrl: config.worker.public_url ?? null,
      publicUrlProblem: () => publicUrlWatch?.problem,
      advertiseAddr: advertisedAddress(config.worker, url),
      onControlLoss: config.worker.on_control_loss,
      clock,
      random,
      log,
      news: () => planes.beatNow(),
    });

  if (listenAddr !== undefined) {
    const listener = new LinkListener({ credentials, accept: (link) => planes.accept(link), log });
    const server: HttpServer = await createWorkerServer({
      host,
      control: directControl(planes),
      guestOf: (opener) => new GuestClient(opener),
      publicKeys: () => known.keys,
      time,
      version: VERSION,
      corsAllowedOrigins: config.server.cors_allowed_origins,
      ...(tls === undefined ? {} : { tls: tls.current }),
      ...(previewDomain === undefined
        ? {}
        : {
            previews: {
              domain: previewDomain,
              scheme: tls === undefined ? "http" : "https",
              ...(previewUrl === undefined ? {} : { url: previewUrl }),
            },
          }),
      links: listener,
      endLinks: () => planes.close(),
      execTimeoutMs: parseDuration(config.defaults.exec_timeout) ?? 0,
      maxExecTimeoutMs: parseDuration(config.defaults.max_exec_timeout) ?? 0,
      logger,
      clock,
      random,
    });
    const address = parseAddress(listenAddr);
    url = await server.listen(address).catch((error: unknown) => {
      throw explainListen(error, address, { host: "worker.listen_addr", port: "worker.listen_addr" });
    });
    opening.defer(() => planes.close());
    opening.defer(() => server.close());
    if (tls !== undefined) opening.use(tls.follow((changed) => server.setTls(changed), clock, log));
    const { public_url: publicUrl, ca_file: caFile } = config.worker;
    const ca = (): readonly string[] => trustedCertificates("worker.ca_file", caFile);
    if (publicUrl !== undefined) publicUrlWatch = opening.use(new PublicUrlWatch({ url: publicUrl, workerId, ca, clock, log }));
  } else opening.defer(() => planes.close());
  await planes.open();

  const drain = async (): Promise<void> => {
    draining = true;
    if (source !== undefined) source.draining = true;
    await host.drain(true);
    await planes.told(AbortSignal.timeout(FAREWELL_MS));
    await host.startsEnded(AbortSignal.timeout(parseDuration(config.worker.shutdown_timeout) ?? 0));
  };
  const opened = opening.move();
  return {
    id: workerId,
    controlPlaneUrl: identity.controlPlaneUrl,
    dataDir,
    url,
    advertised: advertisedAddress(config.worker, url),
    describe: () => host.describe(),
    get count() {
      return host.count;
    },
    drain,
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

/** Where browsers reach this worker's previews, unless it is configured. */
function defaultPreviewUrl(domain: string | undefined, url: string | undefined): string | null {
  return domain === undefined || url === undefined ? null : `${new URL(url).protocol}//${domain}:${new URL(url).port}`;
}

/** What is asked of any control plane that is there: one that fails is no reason not to ask the next. */
function directControl(planes: ControlPlanes): DirectControl {
  const any = async <T>(ask: (control: ControlClient) => Promise<T>): Promise<T> => {
    let failure: unknown = new CaissonError("control_unavailable", "The worker reaches no control plane now.");
    for (const { control } of planes.up) {
      try {
        return await ask(control);
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  };
  return {
    processesChanged: (changed: ProcessesChanged, options: CallOptions): Promise<void> =>
      any((control) => control.processesChanged(changed, options)),
    portAccess: (asked: PortAccess, options: CallOptions): Promise<PortAccessReply> => any((control) => control.portAccess(asked, options)),
  };
}
