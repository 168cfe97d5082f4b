import { byKeys } from "./auth/authenticate.ts";
import { createApp } from "./http/create-app.ts";
import { LiveRequests } from "./http/live-requests.ts";
import { serveApp, type HttpServer } from "./http/serve-app.ts";
import { routeUpgrades } from "./http/upgrade.ts";
import { checkPreviewOptions } from "./previews/preview-options.ts";
import { PreviewServer } from "./previews/preview-server.ts";
import { registerRoutes } from "./routes/register-routes.ts";
import { Siblings } from "./siblings/siblings.ts";
import { DEFAULT_LIMITS, type ServerOptions, type Services } from "./server-options.ts";

/** Builds the HTTP API over the interfaces handed in; it holds no state of its own beyond requests in progress. */
export async function createServer(options: ServerOptions): Promise<HttpServer> {
  const services: Services = { ...options, limits: { ...DEFAULT_LIMITS, ...options.limits } };
  const live = new LiveRequests();
  checkPreviewOptions(services.previews);
  const { siblings: others, ...rest } = services;
  const siblings = others === undefined ? {} : { siblings: new Siblings(others, services.clock) };
  const previews = new PreviewServer({ ...rest, ...siblings }, live);
  const authenticate = byKeys(services.keys, services.tokens);
  const app = createApp({ ...rest, ...siblings, live, previewServer: previews, authenticate });
  await registerRoutes(app, services);
  await app.ready();
  routeUpgrades(app, previews, services.workerLinks);
  // What goes on in far sandboxes goes through the links.
  return serveApp(app, { ...services, live, idle: () => services.workerLinks?.close() });
}
