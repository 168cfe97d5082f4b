import type { ZodTypeProvider } from "fastify-type-provider-zod";
import type { App } from "../http/app.ts";
import type { Services } from "../server-options.ts";
import { registerOpenapi } from "../openapi/register-openapi.ts";
import { API_PREFIX } from "./api-prefix.ts";
import { JSON_DATA_ROUTES, RAW_DATA_ROUTES } from "./register-data-routes.ts";
import { accessRoutes } from "./access-routes.ts";
import { docsRoutes } from "./docs-routes.ts";
import { eventRoutes } from "./event-routes.ts";
import { healthRoutes } from "./health-routes.ts";
import { historyRoutes } from "./history-routes.ts";
import { imageImportRoutes, imageRoutes } from "./image-routes.ts";
import { linkRoutes } from "./link-routes.ts";
import { portRoutes } from "./port-routes.ts";
import { sandboxRoutes } from "./sandbox-routes.ts";
import { signRoutes } from "./sign-routes.ts";
import { systemRoutes } from "./system-routes.ts";
import { terminalRoutes } from "./terminal-routes.ts";
import { tokenRoutes } from "./token-routes.ts";
import { webhookRoutes } from "./webhook-routes.ts";
import { workerRoutes } from "./worker-routes.ts";
import { workerIdentityRoutes } from "./worker-identity-routes.ts";

/** Routes whose bodies are JSON, or nothing. */
const JSON_ROUTES = [
  sandboxRoutes,
  tokenRoutes,
  accessRoutes,
  ...JSON_DATA_ROUTES,
  signRoutes,
  portRoutes,
  imageRoutes,
  eventRoutes,
  historyRoutes,
  webhookRoutes,
  workerRoutes,
  workerIdentityRoutes,
  systemRoutes,
  healthRoutes,
  linkRoutes,
];

/** Routes whose bodies are bytes. */
const RAW_ROUTES = [...RAW_DATA_ROUTES, imageImportRoutes];

/** Adds every route. */
export async function registerRoutes(app: App, services: Services): Promise<void> {
  await registerOpenapi(app, services.version);
  healthRoutes(app, services);
  docsRoutes(app);
  terminalRoutes(app);
  await app.register(
    (scope, _options, done) => {
      for (const add of JSON_ROUTES) add(scope.withTypeProvider<ZodTypeProvider>(), services);
      done();
    },
    { prefix: API_PREFIX },
  );
  await app.register(
    (scope, _options, done) => {
      // The body is left where it is; whoever wants it reads it at his own pace.
      scope.removeAllContentTypeParsers();
      scope.addContentTypeParser("*", (_request, _body, parsed) => parsed(null));
      for (const add of RAW_ROUTES) add(scope.withTypeProvider<ZodTypeProvider>(), services);
      done();
    },
    { prefix: API_PREFIX },
  );
}
