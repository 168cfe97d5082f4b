import { createServer, type IncomingMessage, type RequestListener, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { awaitsAsking } from "./ask-for-body.ts";
import type { PreviewServer } from "../previews/preview-server.ts";
import type { ServerLimits } from "../server-options.ts";
import { nodeTls, type TlsOptions } from "./tls-options.ts";

/** The HTTP server under API and previews, with TLS where it is configured: its times, and who of the two gets a request. */
export function createHttpServer(
  limits: ServerLimits,
  api: RequestListener,
  previews: PreviewServer | undefined,
  tls: TlsOptions | undefined,
): Server {
  const options = {
    headersTimeout: limits.headersTimeoutMs,
    connectionsCheckingInterval: Math.min(5_000, limits.headersTimeoutMs),
    keepAlive: true,
    keepAliveInitialDelay: 30_000,
    keepAliveTimeout: limits.keepAliveMs,
    noDelay: true,
    // A body may take as long as its client needs; each reader of one bounds its own waiting.
    requestTimeout: 0,
  };
  const serve: RequestListener = (message, response) => {
    if (previews?.takes(message) === true) previews.serve(message, response);
    else api(message, response);
  };
  // To all that is above it, an HTTPS server is an HTTP server.
  const server =
    tls === undefined
      ? createServer(options, serve)
      : (createTlsServer({ ...options, ...nodeTls(tls), handshakeTimeout: limits.headersTimeoutMs }, serve) as Server);
  // A client that asks before it sends a body is answered by whoever would read it.
  server.on("checkContinue", (message: IncomingMessage, response) => {
    awaitsAsking(message);
    serve(message, response);
  });
  return server;
}
