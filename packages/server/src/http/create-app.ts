import { CaissonError, SANDBOX_ID_PATTERN } from "@caisson/contract";
import Fastify, { LogController, type FastifyReply, type FastifyRequest } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import type { Authenticator } from "../auth/authenticate.ts";
import type { PreviewServer } from "../previews/preview-server.ts";
import type { DataServices } from "../server-options.ts";
import type { Siblings } from "../siblings/siblings.ts";
import { API_PREFIX } from "../routes/api-prefix.ts";
import type { App } from "./app.ts";
import { askForBody } from "./ask-for-body.ts";
import { answerBrokenRequest } from "./client-error.ts";
import { createHttpServer } from "./create-http-server.ts";
import { allowedOrigins, applyCors } from "./cors.ts";
import { parseJsonBody } from "./json-body.ts";
import { shuttingDown, type LiveRequests } from "./live-requests.ts";
import { sendProblem } from "./problem.ts";
import { parseQuery } from "./query-string.ts";
import { requestIdOf } from "./request-id.ts";
import { logRequest } from "./request-log.ts";
import { RequestScope } from "./request-scope.ts";
import { RouteTable } from "./route-table.ts";
import { SECURITY_HEADERS } from "./security-headers.ts";
import type { TlsOptions } from "./tls-options.ts";
import { takeUpgrade, upgradeOf, type Upgrade } from "./upgrade.ts";
import { validatorCompiler } from "./validation.ts";

/** How long the rest of a body is read after an answer that did not wait for it, in ms. */
const LINGER_MS = 5_000;

/** What an application is made of, beside its routes. */
export interface AppParts extends Pick<DataServices, "limits" | "clock" | "random" | "logger" | "corsAllowedOrigins"> {
  readonly live: LiveRequests;
  /** With it the server speaks HTTPS only. */
  readonly tls?: TlsOptions;
  /** Shows ports of sandboxes. Default: nobody does here. */
  readonly previewServer?: PreviewServer;
  readonly authenticate: Authenticator;
  /** Who else may have the link that a request needs. Default: nobody. */
  readonly siblings?: Siblings;
  /** Error for addresses that are not served here. Default: `not_found`. */
  readonly elsewhere?: (where: string) => CaissonError;
}

/** The application without its routes: everything that is the same for every request. */
export function createApp(services: AppParts): App {
  const { live, previewServer: previews } = services;
  const { limits, clock, random } = services;
  const origins = allowedOrigins(services.corsAllowedOrigins);
  const table = new RouteTable();
  const app: App = Fastify({
    loggerInstance: services.logger,
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: "request_id" }),
    requestIdHeader: false,
    genReqId: (message) => requestIdOf(message, random),
    bodyLimit: limits.jsonBodyBytes,
    exposeHeadRoutes: false,
    return503OnClosing: false,
    serverFactory: (handler) => createHttpServer(limits, handler, previews, services.tls),
    routerOptions: { querystringParser: parseQuery, maxParamLength: 1024 },
    clientErrorHandler: answerBrokenRequest,
    frameworkErrors: (error, request, reply) => {
      request.scope = new RequestScope(request.id, clock);
      reply.raw.once("close", () => logRequest(request, reply as FastifyReply, clock));
      sendProblem(request, reply as FastifyReply, error);
    },
  }).withTypeProvider<ZodTypeProvider>();

  app.setValidatorCompiler(validatorCompiler);
  // Answers are typed where they are made; checking them again would only turn a done deed into a 500.
  app.setSerializerCompiler(() => JSON.stringify);
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("application/json", { parseAs: "buffer" }, (_request, body, done) => {
    try {
      done(null, parseJsonBody(body as Buffer));
    } catch (error) {
      done(error as Error);
    }
  });
  app.decorateRequest("scope", null as unknown as RequestScope);

  app.addHook("onRoute", (route) => {
    const methods = [route.method].flat();
    if (route.config?.access === undefined)
      throw new CaissonError("internal", `${methods.join()} ${route.url} does not say who may call it.`);
    table.add(route.url, methods);
    // What a route does not take, it refuses.
    route.schema = {
      querystring: z.strictObject({}),
      ...(methods.includes("DELETE") ? { body: z.strictObject({}) } : {}),
      ...route.schema,
    };
  });

  app.addHook("onRequest", async (request, reply) => {
    const scope = new RequestScope(request.id, clock);
    scope.remote = request.socket.remoteAddress;
    request.scope = scope;
    const { long, upgrade } = request.routeOptions.config;
    live.add(scope, long === true ? "long" : "short");
    reply.raw.once("close", () => {
      live.delete(scope);
      if (!reply.raw.writableFinished) scope.clientGone();
      logRequest(request, reply, clock);
      endUnreadBody(request);
    });
    reply.headers({ "x-request-id": scope.id, ...SECURITY_HEADERS });
    if (applyCors(origins, request, reply)) return reply.code(204).send();
    if (live.closing) {
      reply.header("connection", "close");
      throw shuttingDown();
    }
    const encoding = request.headers["content-encoding"];
    if (encoding !== undefined && encoding !== "identity")
      throw new CaissonError("invalid_request", "Bodies are taken as they are: there must be no Content-Encoding.");
    await services.authenticate(request, scope, request.routeOptions.config);
    if ((upgrade === true) !== (upgradeOf(request) !== undefined)) {
      if (upgrade === true) reply.header("upgrade", "websocket").code(426);
      const message = upgrade === true ? "This address speaks WebSocket only." : "This address takes no protocol upgrade.";
      throw new CaissonError("invalid_request", message);
    }
    if (await passOn(request, reply)) return reply.hijack();
    askForBody(request.raw, reply.raw);
    return undefined;
  });

  /** Whether another control plane answered a request about a sandbox. */
  async function passOn(request: FastifyRequest, reply: FastifyReply): Promise<boolean> {
    const { url, config } = request.routeOptions;
    const about = url?.startsWith(`${API_PREFIX}/sandboxes/:id`) === true && config.linkless !== true;
    if (services.siblings === undefined || !about) return false;
    const { id } = request.params as { readonly id: string };
    // What does not look like an id is answered as one that does not exist.
    if (!SANDBOX_ID_PATTERN.test(id)) return false;
    const { scope } = request;
    const taken = (): Upgrade => {
      const { socket, head } = takeUpgrade(request, reply);
      // One that does not read would keep a server that closes from its end.
      scope.signal.addEventListener("abort", () => socket.destroy(), { once: true });
      return { socket, head };
    };
    const upgrade = upgradeOf(request) === undefined ? {} : { upgrade: taken };
    return services.siblings.take({
      message: request.raw,
      response: reply.raw,
      scope,
      sandboxId: id,
      of: "api",
      ...upgrade,
    });
  }

  /** The connection of a client that goes on sending what nobody reads is broken after a while. */
  function endUnreadBody(request: FastifyRequest): void {
    const message = request.raw;
    if (message.complete || message.destroyed) return;
    message.resume();
    const timer = clock.schedule(LINGER_MS, () => message.socket.destroy());
    message.once("end", () => timer.cancel());
    message.once("close", () => timer.cancel());
  }

  // A JSON body is small and must come at once; raw bodies are bounded by who reads them.
  app.addHook("preParsing", async (request, reply, payload) => {
    if (request.routeOptions.config.rawBody !== undefined || request.raw.complete) return payload;
    const timer = clock.schedule(limits.bodyTimeoutMs, () => request.raw.destroy());
    payload.once("end", () => timer.cancel());
    reply.raw.once("close", () => timer.cancel());
    return payload;
  });

  app.setErrorHandler((error, request, reply) => sendProblem(request, reply, error));
  app.setNotFoundHandler((request, reply) => {
    const methods = table.methodsOf(request.raw.url?.split("?", 1)[0] ?? "");
    if (methods.length === 0) {
      const where = `${request.method} ${request.url.split("?", 1)[0]?.slice(0, 200)}`;
      throw services.elsewhere?.(where) ?? new CaissonError("not_found", `There is nothing at ${where}.`);
    }
    reply.header("allow", methods.join(", "));
    throw new CaissonError("method_not_allowed", `This address takes ${methods.join(", ")}, not ${request.method}.`);
  });
  return app;
}
