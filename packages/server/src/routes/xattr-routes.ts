import { getXattrsQuerySchema, removeXattrQuerySchema, setXattrSchema, xattrsSchema } from "@caisson/contract";
import { z } from "zod";
import { fileOptions } from "../files/file-options.ts";
import type { App } from "../http/app.ts";
import type { DataServices } from "../server-options.ts";
import { errors, sandboxParams } from "./route-schema.ts";

const tags = ["Files"];
const done = z.null().describe("Done");

/** Extended attributes of files. */
export function xattrRoutes(app: App, { operations }: DataServices): void {
  app.route({
    method: "GET",
    url: "/sandboxes/:id/files/xattrs",
    config: { access: "api" },
    schema: {
      tags,
      operationId: "getXattrs",
      summary: "Get extended attributes",
      description: "All that the user may see; at most 64 KiB in all.",
      params: sandboxParams,
      querystring: getXattrsQuerySchema,
      response: { 200: xattrsSchema.describe("The attributes"), ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params, query } = request;
      const options = { ...fileOptions(scope, { user: query.user }), follow: query.follow !== "false" };
      const found = await operations.withGuest(params.id, "file.xattrs", (guest) => guest.getXattrs(query.path, options), {
        ...scope.bound,
        detail: query.path,
      });
      // Names come from the sandbox: `__proto__` must become one like any other.
      const attributes = Object.fromEntries([...found].map(([name, value]) => [name, Buffer.from(value).toString("base64")]));
      return reply.send({ attributes });
    },
  });

  app.route({
    method: "PUT",
    url: "/sandboxes/:id/files/xattrs",
    config: { access: "api" },
    schema: {
      tags,
      operationId: "setXattr",
      summary: "Set an extended attribute",
      description: "Which names may be set is up to the sandbox's kernel and file system; `user.` works on most.",
      params: sandboxParams,
      body: setXattrSchema,
      response: { 204: done, ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params, body } = request;
      const options = { ...fileOptions(scope, { user: body.user }), follow: body.follow !== false };
      const value = Buffer.from(body.value_base64, "base64");
      await operations.withGuest(params.id, "file.xattrs", (guest) => guest.setXattr(body.path, body.name, value, options), {
        ...scope.bound,
        detail: body.path,
      });
      return reply.code(204).send(null);
    },
  });

  app.route({
    method: "DELETE",
    url: "/sandboxes/:id/files/xattrs",
    config: { access: "api" },
    schema: {
      tags,
      operationId: "removeXattr",
      summary: "Remove an extended attribute",
      params: sandboxParams,
      querystring: removeXattrQuerySchema,
      response: { 204: done, ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params, query } = request;
      const options = { ...fileOptions(scope, { user: query.user }), follow: query.follow !== "false" };
      await operations.withGuest(params.id, "file.xattrs", (guest) => guest.removeXattr(query.path, query.name, options), {
        ...scope.bound,
        detail: query.path,
      });
      return reply.code(204).send(null);
    },
  });
}
