import {
  imageListSchema,
  importImageQuerySchema,
  listImagesQuerySchema,
  pullImageSchema,
  removeImageQuerySchema,
  workerImageSchema,
} from "@caisson/contract";
import type { ImageOptions } from "@caisson/control";
import type { FastifyRequest } from "fastify";
import { z } from "zod";
import type { App } from "../http/app.ts";
import { readUpload } from "../http/read-upload.ts";
import type { Services } from "../server-options.ts";
import { errors } from "./route-schema.ts";

const tags = ["Images"];

/** Images that sandboxes are made from. */
export function imageRoutes(app: App, { images }: Services): void {
  app.route({
    method: "GET",
    url: "/images",
    config: { access: "api" },
    schema: {
      tags,
      operationId: "listImages",
      summary: "List images",
      querystring: listImagesQuerySchema,
      response: { 200: imageListSchema.describe("The images"), ...errors },
    },
    handler: async (request, reply) => reply.send({ items: [...(await images.list(optionsOf(request.query, request)))] }),
  });

  app.route({
    method: "POST",
    url: "/images",
    config: { access: "admin", long: true },
    schema: {
      tags,
      operationId: "pullImage",
      summary: "Pull an image",
      description: "Fetches an OCI reference and waits until it is here. Nothing to do when it is, unless `force` is set.",
      body: pullImageSchema,
      response: { 200: workerImageSchema.describe("The image"), ...errors },
    },
    handler: async (request, reply) => {
      const { body } = request;
      return reply.send(
        await images.pull(body.reference, { ...optionsOf(body, request), ...(body.force === true ? { force: true } : {}) }),
      );
    },
  });

  app.route({
    method: "DELETE",
    url: "/images/:name",
    config: { access: "admin" },
    schema: {
      tags,
      operationId: "removeImage",
      summary: "Remove an image",
      description: "Refused with `image_in_use` while sandboxes use it.",
      params: z.strictObject({
        name: z
          .string()
          .min(1)
          .max(512)
          .meta({ description: "Name of the image, percent-encoded", examples: ["debian:12"] }),
      }),
      querystring: removeImageQuerySchema,
      response: { 204: z.null().describe("Done"), ...errors },
    },
    handler: async (request, reply) => {
      await images.remove(request.params.name, optionsOf(request.query, request));
      return reply.code(204).send(null);
    },
  });
}

/** Archives: bodies are bytes. */
export function imageImportRoutes(app: App, { images, clock, limits }: Services): void {
  app.route({
    method: "POST",
    url: "/images/import",
    config: { access: "admin", long: true, rawBody: "application/x-tar" },
    schema: {
      tags,
      operationId: "importImage",
      summary: "Import an image",
      description: "The body is a tar archive of a root file system: plain, gzip or zstd.",
      querystring: importImageQuerySchema,
      response: { 201: workerImageSchema.describe("The image"), ...errors },
    },
    handler: async (request, reply) => {
      const { scope } = request;
      const archive = readUpload(request.raw, { clock, signal: scope.signal, idleMs: limits.uploadIdleMs });
      return reply.code(201).send(await images.importArchive(request.query.name, archive, optionsOf(request.query, request)));
    },
  });
}

/** Whose images, until the client goes away. */
function optionsOf(named: { readonly worker_id?: string | undefined }, { scope }: Pick<FastifyRequest, "scope">): ImageOptions {
  return { signal: scope.signal, ...(named.worker_id === undefined ? {} : { workerId: named.worker_id }) };
}
