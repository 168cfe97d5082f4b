import {
  createSandboxSchema,
  extendSandboxSchema,
  listSandboxesQuerySchema,
  parseDuration,
  sandboxPageSchema,
  sandboxSchema,
} from "@caisson/contract";
import { z } from "zod";
import type { App } from "../http/app.ts";
import type { Services } from "../server-options.ts";
import { errors, sandboxParams, tokenQuery } from "./route-schema.ts";

const tags = ["Sandboxes"];

const createHeaders = z.looseObject({
  "idempotency-key": z
    .string()
    .regex(/^[\x21-\x7e]{1,255}$/, { error: "must be 1 to 255 visible ASCII characters" })
    .optional()
    .meta({ description: "Makes repeating the request safe: the same key and request give the same sandbox" }),
});

/** Life of sandboxes. */
export function sandboxRoutes(app: App, { operations }: Services): void {
  app.route({
    method: "POST",
    url: "/sandboxes",
    config: { access: "api" },
    schema: {
      tags,
      operationId: "createSandbox",
      summary: "Create a sandbox",
      description:
        "Waits until it runs. With an `Idempotency-Key` header, repeating the same request returns the same sandbox; the same key with another request is refused with `idempotency_conflict`.",
      headers: createHeaders,
      body: createSandboxSchema,
      response: { 201: sandboxSchema.describe("The sandbox runs"), ...errors },
    },
    handler: async (request, reply) => {
      const idempotencyKey = request.headers["idempotency-key"];
      // A client that goes away may come back with the same key, so its sandbox is made all the same.
      const sandbox = await operations.create(request.body, {
        ...request.scope.unbound,
        ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
      });
      return reply.code(201).header("location", `/api/v1/sandboxes/${sandbox.id}`).send(sandbox);
    },
  });

  app.route({
    method: "GET",
    url: "/sandboxes",
    config: { access: "api" },
    schema: {
      tags,
      operationId: "listSandboxes",
      summary: "List sandboxes",
      description: "Newest first. Those that have ended are left out unless `state` names them.",
      querystring: listSandboxesQuerySchema,
      response: { 200: sandboxPageSchema.describe("One page"), ...errors },
    },
    handler: async (request, reply) => reply.send(await operations.list(request.query, request.scope.bound)),
  });

  app.route({
    method: "GET",
    url: "/sandboxes/:id",
    config: { access: "api", token: "exec", linkless: true },
    schema: {
      tags,
      operationId: "getSandbox",
      summary: "Get a sandbox",
      description: "Also one that has ended.",
      params: sandboxParams,
      querystring: tokenQuery,
      response: { 200: sandboxSchema.describe("The sandbox"), ...errors },
    },
    handler: async (request, reply) => reply.send(await operations.get(request.params.id, request.scope.bound)),
  });

  app.route({
    method: "DELETE",
    url: "/sandboxes/:id",
    config: { access: "api" },
    schema: {
      tags,
      operationId: "destroySandbox",
      summary: "Destroy a sandbox",
      description: "From any state. Everything in it is gone afterwards. Repeating it is fine.",
      params: sandboxParams,
      response: { 200: sandboxSchema.describe("The sandbox as it ended"), ...errors },
    },
    handler: async (request, reply) => reply.send(await operations.destroy(request.params.id, request.scope.unbound)),
  });

  app.route({
    method: "POST",
    url: "/sandboxes/:id/extend",
    config: { access: "api", linkless: true },
    schema: {
      tags,
      operationId: "extendSandbox",
      summary: "Set a sandbox's time to live",
      description: "Counted from now; it may also shorten it. At most `defaults.max_ttl`.",
      params: sandboxParams,
      body: extendSandboxSchema,
      response: { 200: sandboxSchema.describe("The sandbox with its new deadline"), ...errors },
    },
    handler: async (request, reply) =>
      reply.send(await operations.extend(request.params.id, parseDuration(request.body.ttl) ?? 0, request.scope.unbound)),
  });
}
