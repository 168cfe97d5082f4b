import { CaissonError } from "@caisson/contract";
import type { FastifyReply, FastifyRequest } from "fastify";
import { z } from "zod";
import type { App } from "../http/app.ts";
import { bundlePage, type PageFiles } from "../terminal-page/bundle-page.ts";

/** What the page may load and speak to: this server only. The terminal sets the styles of what it draws itself. */
const PAGE_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

const pageParams = z.strictObject({ id: z.string().max(128) });
const assetParams = z.strictObject({ name: z.enum(["page.js", "page.css"]) });

/** A terminal in a browser. The page is the same for every sandbox and needs no key; what it does needs one, or a token. */
export function terminalRoutes(app: App): void {
  const config = { access: "open" } as const;
  let bundled: Promise<PageFiles> | undefined;

  /** The files; made at first use, and again when that failed. */
  async function files(): Promise<PageFiles> {
    bundled ??= bundlePage();
    try {
      return await bundled;
    } catch (cause) {
      bundled = undefined;
      throw new CaissonError("internal", "The terminal page could not be made.", { cause });
    }
  }

  async function send(request: FastifyRequest, reply: FastifyReply, name: string): Promise<FastifyReply> {
    const file = (await files()).get(name);
    if (file === undefined) throw new CaissonError("not_found", `The terminal page has no ${name}.`);
    reply.headers({ "content-type": file.type, "cache-control": "no-cache", etag: file.etag, vary: "Accept-Encoding" });
    if (request.headers["if-none-match"] === file.etag) return reply.code(304).send();
    if (!/\bgzip\b/.test(request.headers["accept-encoding"] ?? "")) return reply.send(file.body);
    return reply.header("content-encoding", "gzip").send(file.gzipped);
  }

  app.get("/terminal/:id", { config, schema: { hide: true, params: pageParams } }, async (request, reply) => {
    reply.header("content-security-policy", PAGE_POLICY);
    return send(request, reply, "page.html");
  });
  app.get("/terminal/assets/:name", { config, schema: { hide: true, params: assetParams } }, async (request, reply) =>
    send(request, reply, request.params.name),
  );
}
