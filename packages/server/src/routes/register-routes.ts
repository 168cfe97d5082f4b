import type { ZodTypeProvider } from "fastify-type-provider-zod";
import type { App } from "../http/app.ts";
import type { Services } from "../server-options.ts";
import { registerOpenapi } from "../openapi/register-openapi.ts";
import { accessRoutes } from "./access-routes.ts";
import { archiveRoutes } from "./archive-routes.ts";
import { codeContextRoutes } from "./code-context-routes.ts";
import { codeRoutes } from "./code-routes.ts";
import { docsRoutes } from "./docs-routes.ts";
import { eventRoutes } from "./event-routes.ts";
import { execRoutes } from "./exec-routes.ts";
import { execSocketRoutes } from "./exec-socket-routes.ts";
import { fileRoutes } from "./file-routes.ts";
import { formRoutes } from "./form-routes.ts";
import { healthRoutes } from "./health-routes.ts";
import { historyRoutes } from "./history-routes.ts";
import { imageImportRoutes, imageRoutes } from "./image-routes.ts";
import { linkRoutes } from "./link-routes.ts";
import { observationRoutes } from "./observation-routes.ts";
import { portRoutes } from "./port-routes.ts";
import { portSocketRoutes } from "./port-socket-routes.ts";
import { processInputRoutes, processRoutes } from "./process-routes.ts";
import { sandboxRoutes } from "./sandbox-routes.ts";
import { searchRoutes } from "./search-routes.ts";
import { signRoutes } from "./sign-routes.ts";
import { systemRoutes } from "./system-routes.ts";
import { terminalRoutes } from "./terminal-routes.ts";
import { tokenRoutes } from "./token-routes.ts";
import { transferRoutes } from "./transfer-routes.ts";
import { uploadBytesRoutes, uploadRoutes } from "./upload-routes.ts";
import { watchRoutes } from "./watch-routes.ts";
import { webhookRoutes } from "./webhook-routes.ts";
import { workerRoutes } from "./worker-routes.ts";
import { xattrRoutes } from "./xattr-routes.ts";

/** Where the API lives. */
export const API_PREFIX = "/api/v1";

/** Routes whose bodies are JSON, or nothing. */
const JSON_ROUTES = [
  sandboxRoutes,
  tokenRoutes,
  accessRoutes,
  execRoutes,
  execSocketRoutes,
  codeRoutes,
  codeContextRoutes,
  processRoutes,
  fileRoutes,
  uploadRoutes,
  searchRoutes,
  watchRoutes,
  signRoutes,
  xattrRoutes,
  portRoutes,
  portSocketRoutes,
  imageRoutes,
  eventRoutes,
  historyRoutes,
  observationRoutes,
  webhookRoutes,
  workerRoutes,
  systemRoutes,
  healthRoutes,
  linkRoutes,
];

/** Routes whose bodies are bytes. */
const RAW_ROUTES = [transferRoutes, formRoutes, uploadBytesRoutes, archiveRoutes, processInputRoutes, imageImportRoutes];

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
