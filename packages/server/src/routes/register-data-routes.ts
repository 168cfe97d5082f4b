import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import type { App } from "../http/app.ts";
import { archiveRoutes } from "./archive-routes.ts";
import { codeContextRoutes } from "./code-context-routes.ts";
import { codeRoutes } from "./code-routes.ts";
import { execRoutes } from "./exec-routes.ts";
import { execSocketRoutes } from "./exec-socket-routes.ts";
import { fileRoutes } from "./file-routes.ts";
import { formRoutes } from "./form-routes.ts";
import { observationRoutes } from "./observation-routes.ts";
import { portSocketRoutes } from "./port-socket-routes.ts";
import { processInputRoutes, processRoutes } from "./process-routes.ts";
import { API_PREFIX } from "./api-prefix.ts";
import { searchRoutes } from "./search-routes.ts";
import { transferRoutes } from "./transfer-routes.ts";
import { uploadBytesRoutes, uploadRoutes } from "./upload-routes.ts";
import { watchRoutes } from "./watch-routes.ts";
import { xattrRoutes } from "./xattr-routes.ts";
import type { DataServices } from "../server-options.ts";

/** Routes of what is done inside a sandbox whose bodies are JSON, or nothing. */
export const JSON_DATA_ROUTES: readonly ((app: App, services: DataServices) => void)[] = [
  execRoutes,
  execSocketRoutes,
  codeRoutes,
  codeContextRoutes,
  processRoutes,
  fileRoutes,
  uploadRoutes,
  searchRoutes,
  watchRoutes,
  xattrRoutes,
  portSocketRoutes,
  observationRoutes,
];

/** Those whose bodies are bytes. */
export const RAW_DATA_ROUTES: readonly ((app: App, services: DataServices) => void)[] = [
  transferRoutes,
  formRoutes,
  uploadBytesRoutes,
  archiveRoutes,
  processInputRoutes,
];

/** Adds the routes that a worker serves. */
export async function registerDataRoutes(app: App, services: DataServices, workerId: string): Promise<void> {
  liveRoute(app, services, workerId);
  await app.register(
    (scope, _options, done) => {
      liveRoute(scope.withTypeProvider<ZodTypeProvider>(), services, workerId);
      for (const add of JSON_DATA_ROUTES) add(scope.withTypeProvider<ZodTypeProvider>(), services);
      done();
    },
    { prefix: API_PREFIX },
  );
  await app.register(
    (scope, _options, done) => {
      // The body is left where it is; whoever wants it reads it at his own pace.
      scope.removeAllContentTypeParsers();
      scope.addContentTypeParser("*", (_request, _body, parsed) => parsed(null));
      for (const add of RAW_DATA_ROUTES) add(scope.withTypeProvider<ZodTypeProvider>(), services);
      done();
    },
    { prefix: API_PREFIX },
  );
}

const liveQuerySchema = z.strictObject({ worker_id: z.string().max(63).optional() });

/**
 * Whether the worker answers: for probes, and for clients that look whether they can reach it. It names itself to who knows its
 * id already, so that it can be told from another one and from a server.
 */
function liveRoute(app: App, { version }: DataServices, workerId: string): void {
  app.get("/live", { config: { access: "open" }, schema: { querystring: liveQuerySchema } }, async (request, reply) =>
    reply.send({ status: "alive", version, ...(request.query.worker_id === workerId ? { worker_id: workerId } : {}) }),
  );
}
