import type { ZodTypeProvider } from "fastify-type-provider-zod";
import type { App } from "../http/app.ts";
import type { Services } from "../server-options.ts";
import { execRoutes } from "./exec-routes.ts";
import { healthRoutes } from "./health-routes.ts";
import { sandboxRoutes } from "./sandbox-routes.ts";

/** Where the API lives. */
export const API_PREFIX = "/api/v1";

/** Adds every route. */
export async function registerRoutes(app: App, services: Services): Promise<void> {
  healthRoutes(app, services);
  await app.register(
    (scope, _options, done) => {
      const api: App = scope.withTypeProvider<ZodTypeProvider>();
      for (const add of [healthRoutes, sandboxRoutes, execRoutes]) add(api, services);
      done();
    },
    { prefix: API_PREFIX },
  );
}
