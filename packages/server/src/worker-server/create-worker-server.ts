import type { ChannelOpener, Clock } from "@caisson/contract";
import { AccessTokens, CheckedGrants, type SigningKeySet } from "@caisson/identity";
import type { Guest } from "@caisson/guest";
import { createApp } from "../http/create-app.ts";
import { LiveRequests } from "../http/live-requests.ts";
import { serveApp, type HttpServer } from "../http/serve-app.ts";
import { routeUpgrades, type LinkUpgrades } from "../http/upgrade.ts";
import { checkPreviewOptions, type PreviewOptions } from "../previews/preview-options.ts";
import { PreviewServer } from "../previews/preview-server.ts";
import { DEFAULT_LIMITS, type DataServices, type ServerOptions } from "../server-options.ts";
import { byAccess, notOnWorker } from "./by-access.ts";
import type { DirectControl, DirectHost } from "./direct-host.ts";
import { HostOperations } from "./host-operations.ts";
import { ProcessNews } from "./process-news.ts";
import { PublicPorts } from "./public-ports.ts";
import { registerDataRoutes } from "../routes/register-data-routes.ts";

/** What the HTTP side of a worker is made of. */
export interface WorkerServerOptions extends Pick<
  ServerOptions,
  "version" | "corsAllowedOrigins" | "execTimeoutMs" | "maxExecTimeoutMs" | "tls" | "limits" | "logger" | "clock" | "random"
> {
  readonly host: DirectHost;
  readonly control: DirectControl;
  /** The client of a guest agent over a way to it. */
  readonly guestOf: (opener: ChannelOpener) => Guest;
  /** Public keys of the installation as they were learnt last; a new set when they change. */
  readonly publicKeys: () => SigningKeySet;
  /** Wall-clock time of the control planes, by which tokens end: the worker's own clock may be wrong. */
  readonly time: Pick<Clock, "now">;
  /** Where ports of its sandboxes are shown. Absent: not here. */
  readonly previews?: PreviewOptions;
  /** Links with control planes that dial. Absent: none are taken. */
  readonly links?: LinkUpgrades;
  /** Ends the links, when what could still be told was told: called by `close`, which waits for their connections. */
  readonly endLinks?: () => Promise<void>;
}

/**
 * The HTTP side of a worker: what is done inside its sandboxes, by the same routes as on a control plane, and previews of
 * their ports. Everything else is a control plane's, and answered so.
 */
export async function createWorkerServer(options: WorkerServerOptions): Promise<HttpServer> {
  const { host, guestOf, control, clock, logger, publicKeys: keys, time, links } = options;
  const live = new LiveRequests();
  const news = new ProcessNews({ control, clock, logger });
  const operations = new HostOperations({ host, guestOf, news, ports: new PublicPorts(control, clock), clock, logger });
  const grants = new CheckedGrants({ keys, clock: time });
  const services: DataServices = { ...options, operations, tokens: grants, limits: { ...DEFAULT_LIMITS, ...options.limits } };
  if (options.previews !== undefined) checkPreviewOptions(options.previews);
  const previewServer = options.previews && new PreviewServer({ ...services, previews: options.previews }, live);
  const tokens = new AccessTokens({ workerId: host.workerId, keys, clock: time });
  const app = createApp({
    ...services,
    live,
    ...(options.tls === undefined ? {} : { tls: options.tls }),
    ...(previewServer === undefined ? {} : { previewServer }),
    authenticate: byAccess({ tokens, grants, host }),
    elsewhere: notOnWorker,
  });
  await registerDataRoutes(app, services, host.workerId);
  await app.ready();
  routeUpgrades(app, previewServer, links);
  const idle = async (): Promise<void> => {
    await news.close();
    await options.endLinks?.();
  };
  return serveApp(app, { ...services, live, idle });
}
