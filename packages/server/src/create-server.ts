import { Server as NetServer, type AddressInfo } from "node:net";
import { byKeys } from "./auth/authenticate.ts";
import type { App } from "./http/app.ts";
import { createApp } from "./http/create-app.ts";
import { LiveRequests } from "./http/live-requests.ts";
import { routeUpgrades } from "./http/upgrade.ts";
import { checkPreviewOptions } from "./previews/preview-options.ts";
import { PreviewServer } from "./previews/preview-server.ts";
import { registerRoutes } from "./routes/register-routes.ts";
import { DEFAULT_LIMITS, type ServerOptions, type Services } from "./server-options.ts";

/** The HTTP API of a control plane. */
export interface HttpServer {
  /** The application, for requests without a socket in tests. */
  readonly app: App;
  /** Listens and returns the URL. Port 0 takes any free one. */
  listen(address: { readonly host: string; readonly port: number }): Promise<string>;
  /**
   * Stops accepting, ends streams with an `error` record `shutting_down`, waits for the rest until the deadline, then
   * breaks what is left. Nothing in a sandbox is stopped. Repeating it is fine.
   */
  close(): Promise<void>;
}

/** Builds the HTTP API over the interfaces handed in; it holds no state of its own beyond requests in progress. */
export async function createServer(options: ServerOptions): Promise<HttpServer> {
  const services: Services = { ...options, limits: { ...DEFAULT_LIMITS, ...options.limits } };
  const live = new LiveRequests();
  checkPreviewOptions(services.previews);
  const previews = new PreviewServer(services, live);
  const app = createApp({ ...services, live, previews, authenticate: byKeys(services.keys, services.tokens) });
  await registerRoutes(app, services);
  await app.ready();
  routeUpgrades(app, previews, services.workerLinks);
  let closed: Promise<void> | undefined;

  async function close(): Promise<void> {
    const { clock, limits } = services;
    live.beginClose();
    // Node's own way to close an HTTP server breaks answers that are not yet with their clients; this only stops listening.
    NetServer.prototype.close.call(app.server);
    const deadline = clock.schedule(limits.closeDeadlineMs, () => {
      live.endAll();
      app.server.closeAllConnections();
    });
    await live.idle();
    deadline.cancel();
    // What went on in far sandboxes went through them.
    services.workerLinks?.close();
    app.server.closeAllConnections();
    await app.close();
  }

  return {
    app,
    listen: async ({ host, port }) => {
      await app.listen({ host, port });
      const address = app.server.address() as AddressInfo;
      return `http://${address.family === "IPv6" ? `[${address.address}]` : address.address}:${address.port}`;
    },
    close: () => (closed ??= close()),
  };
}
