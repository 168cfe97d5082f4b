import {
  CaissonError,
  createPortTokenSchema,
  DEFAULT_PORT_TOKEN_MS,
  MAX_PORT_TOKEN_MS,
  parseDuration,
  portListSchema,
  PORT_PATTERN,
  portTokenSchema,
  portVisibilitySchema,
  PREVIEW_TOKEN_PARAMETER,
  publishPortSchema,
  type Port,
  type PortVisibility,
} from "@caisson/contract";
import type { FastifyRequest } from "fastify";
import { z } from "zod";
import type { App } from "../http/app.ts";
import { previewsOf, previewUrl } from "../previews/preview-options.ts";
import type { Services } from "../server-options.ts";
import { errors, sandboxParams } from "./route-schema.ts";

const tags = ["Ports"];

/** Path parameters of a port of a sandbox. */
export const portParams: z.ZodObject<{ id: z.ZodString; port: z.ZodString }, z.core.$strict> = z.strictObject({
  id: sandboxParams.shape.id,
  port: z
    .string()
    .regex(PORT_PATTERN, { error: "must be a number from 1 to 65535" })
    .refine((text) => Number(text) <= 65_535, { error: "must be a number from 1 to 65535" })
    .meta({ description: "TCP port in the sandbox", examples: ["8000"] }),
});

/** Ports of sandboxes: what listens, who may see it, links to it. */
export function portRoutes(app: App, { operations, previews, tokens, clock }: Services): void {
  /** Tells the addresses of a sandbox's previews. */
  async function urlsOf(request: FastifyRequest, id: string): Promise<(port: number) => string> {
    const where = previewsOf(previews, await operations.owner(id, request.scope.bound));
    return (port) => previewUrl(where, id, port, request.socket.localPort);
  }

  app.route({
    method: "GET",
    url: "/sandboxes/:id/ports",
    config: { access: "api" },
    schema: {
      tags,
      operationId: "listPorts",
      summary: "List ports",
      description: "TCP ports that listen in the sandbox, and those whose visibility was set.",
      params: sandboxParams,
      response: { 200: portListSchema.describe("The ports, by number"), ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params } = request;
      const listening = await operations.withGuest(params.id, "port.list", (guest) => guest.ports(scope.bound), scope.bound);
      const published = new Map((await operations.publishedPorts(params.id, scope.bound)).map((one) => [one.port, one]));
      const urlOf = await urlsOf(request, params.id);
      const view = (port: number): PortVisibility => ({
        port,
        published: published.has(port),
        public: published.get(port)?.public ?? false,
        url: urlOf(port),
      });
      const items: Port[] = listening.map(({ port, address, pid, command, user }) => ({
        ...view(port),
        listening: true,
        address,
        pid,
        command,
        user,
      }));
      for (const port of published.keys()) {
        if (listening.some((one) => one.port === port)) continue;
        items.push({ ...view(port), listening: false, address: null, pid: null, command: null, user: null });
      }
      return reply.send({ items: items.toSorted((a, b) => a.port - b.port) });
    },
  });

  app.route({
    method: "PUT",
    url: "/sandboxes/:id/ports/:port",
    config: { access: "api", linkless: true },
    schema: {
      tags,
      operationId: "publishPort",
      summary: "Set a port's visibility",
      description: "Whether its preview needs a key or token. It is kept until the sandbox ends, whether or not something listens now.",
      params: portParams,
      body: publishPortSchema,
      response: { 200: portVisibilitySchema.describe("The port"), ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params, body } = request;
      const port = Number(params.port);
      const urlOf = await urlsOf(request, params.id);
      await operations.publishPort(params.id, { port, public: body.public }, scope.unbound);
      return reply.send({ port, published: true, public: body.public, url: urlOf(port) });
    },
  });

  app.route({
    method: "GET",
    url: "/sandboxes/:id/ports/:port",
    config: { access: "api", linkless: true },
    schema: {
      tags,
      operationId: "getPort",
      summary: "Get a port's visibility and address",
      description: "Whether or not something listens there.",
      params: portParams,
      response: { 200: portVisibilitySchema.describe("The port"), ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params } = request;
      const port = Number(params.port);
      const published = (await operations.publishedPorts(params.id, scope.bound)).find((one) => one.port === port);
      const open = published?.public ?? false;
      const urlOf = await urlsOf(request, params.id);
      return reply.send({ port, published: published !== undefined, public: open, url: urlOf(port) });
    },
  });

  app.route({
    method: "DELETE",
    url: "/sandboxes/:id/ports/:port",
    config: { access: "api", linkless: true },
    schema: {
      tags,
      operationId: "unpublishPort",
      summary: "Make a port private again",
      description: "And forget that it was published. Repeating it is fine.",
      params: portParams,
      response: { 204: z.null().describe("It is private"), ...errors },
    },
    handler: async (request, reply) => {
      await operations.unpublishPort(request.params.id, Number(request.params.port), request.scope.unbound);
      return reply.code(204).send(null);
    },
  });

  app.route({
    method: "POST",
    url: "/sandboxes/:id/ports/:port/token",
    config: { access: "api", linkless: true },
    schema: {
      tags,
      operationId: "createPortToken",
      summary: "Make a link to a port",
      description:
        "The URL opens the preview of this one port in a browser until its time, and the token its connections (`…/connect?token=`). Neither can be taken back, but by the end of the sandbox.",
      params: portParams,
      body: createPortTokenSchema,
      response: { 201: portTokenSchema.describe("The link"), ...errors },
    },
    handler: async (request, reply) => {
      const { params, body } = request;
      const ttlMs = body.ttl === undefined ? DEFAULT_PORT_TOKEN_MS : (parseDuration(body.ttl) ?? 0);
      if (ttlMs > MAX_PORT_TOKEN_MS)
        throw new CaissonError("invalid_request", "The body was refused: ttl must be at most 24h.", {
          errors: [{ path: "ttl", message: "must be at most 24h" }],
        });
      const urlOf = await urlsOf(request, params.id);
      const port = Number(params.port);
      // Whole seconds are kept: what is told must not be later than what holds.
      const expiresAt = Math.floor((clock.now() + Math.max(1000, ttlMs)) / 1000) * 1000;
      const token = await tokens.sign({ action: "port", sandboxId: params.id, port, expiresAt });
      const url = new URL(urlOf(port));
      url.searchParams.set(PREVIEW_TOKEN_PARAMETER, token);
      return reply.code(201).send({ token, url: url.href, expires_at: new Date(expiresAt).toISOString() });
    },
  });
}
