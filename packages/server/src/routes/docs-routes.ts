import { promisify } from "node:util";
import { gzip } from "node:zlib";
import type { App } from "../http/app.ts";
import { openapiYaml } from "../openapi/register-openapi.ts";
import { loadReferenceScript } from "../openapi/reference-script.ts";

/** What the page may load: only what this server serves. */
const PAGE_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data: blob:",
  "font-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

/** The page speaks to this server and to nobody else. */
const PAGE_CONFIGURATION = {
  url: "/openapi.json",
  withDefaultFonts: false,
  telemetry: false,
  hideClientButton: true,
  showDeveloperTools: "never",
  agent: { disabled: true },
  mcp: { disabled: true },
  authentication: { preferredSecurityScheme: "ApiKey" },
  documentDownloadType: "direct",
  defaultHttpClient: { targetKey: "shell", clientKey: "curl" },
};

const PAGE = `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <link rel="icon" href="data:,">
    <title>Caisson API</title>
  </head>
  <body>
    <script id="api-reference" data-configuration="${JSON.stringify(PAGE_CONFIGURATION).replaceAll('"', "&quot;")}"></script>
    <script src="/docs/reference.js"></script>
  </body>
</html>
`;

/** The API's description, for programs and for people. Needs no key: it says nothing of this installation. */
export function docsRoutes(app: App): void {
  const config = { access: "open" } as const;
  const schema = { hide: true } as const;
  let described: { readonly json: string; readonly yaml: string } | undefined;
  const describe = (): { readonly json: string; readonly yaml: string } =>
    (described ??= { json: JSON.stringify(app.swagger()), yaml: openapiYaml(app) });
  let packed: Promise<Buffer> | undefined;

  app.get("/openapi.json", { config, schema }, async (_request, reply) =>
    reply.header("content-type", "application/json; charset=utf-8").send(describe().json),
  );
  app.get("/openapi.yaml", { config, schema }, async (_request, reply) =>
    reply.header("content-type", "application/yaml; charset=utf-8").send(describe().yaml),
  );
  app.get("/", { config, schema }, async (_request, reply) => reply.redirect("/docs", 302));
  app.get("/docs", { config, schema }, async (_request, reply) =>
    reply.headers({ "content-type": "text/html; charset=utf-8", "content-security-policy": PAGE_POLICY }).send(PAGE),
  );
  app.get("/docs/reference.js", { config, schema }, async (request, reply) => {
    reply.headers({ "content-type": "text/javascript; charset=utf-8", "cache-control": "max-age=3600", vary: "Accept-Encoding" });
    if (!/\bgzip\b/.test(request.headers["accept-encoding"] ?? "")) return reply.send(await loadReferenceScript());
    packed ??= loadReferenceScript().then((script) => promisify(gzip)(script));
    return reply.header("content-encoding", "gzip").send(await packed);
  });
}
