import {
  commitUploadSchema,
  CaissonError,
  isCaissonError,
  openUploadSchema,
  uploadListSchema,
  uploadSchema,
  writtenFileSchema,
} from "@caisson/contract";
import { z } from "zod";
import { fileOptions } from "../files/file-options.ts";
import { toFileInfo } from "../files/file-view.ts";
import { toUploadInfo } from "../files/upload-view.ts";
import type { App } from "../http/app.ts";
import { readUpload } from "../http/read-upload.ts";
import { sendHead } from "../http/send-head.ts";
import type { DataServices } from "../server-options.ts";
import { errors, sandboxParams, uploadParams } from "./route-schema.ts";

const tags = ["Files"];

/** Uploads that survive broken connections and restarts: all that is known of them is kept in the sandbox. */
export function uploadRoutes(app: App, { operations }: DataServices): void {
  app.route({
    method: "POST",
    url: "/sandboxes/:id/uploads",
    config: { access: "api" },
    schema: {
      tags,
      operationId: "openUpload",
      summary: "Begin a resumable upload",
      description:
        "Send its bytes with `PATCH`, in as many requests as it takes, then commit it. Nothing shows at the path before. Idle for a day it is dropped; at most 256 are kept at once.",
      params: sandboxParams,
      body: openUploadSchema,
      response: { 201: uploadSchema.describe("The upload; `Location` has its address"), ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params, body } = request;
      const options = { ...fileOptions(scope, body), ...(body.size === undefined ? {} : { size: body.size }) };
      const upload = await operations.withGuest(params.id, "file.upload", (guest) => guest.openUpload(body.path, options), {
        ...scope.bound,
        detail: body.path,
      });
      return reply.code(201).header("location", `/api/v1/sandboxes/${params.id}/uploads/${upload.id}`).send(toUploadInfo(upload));
    },
  });

  app.route({
    method: "GET",
    url: "/sandboxes/:id/uploads",
    config: { access: "api" },
    schema: {
      tags,
      operationId: "listUploads",
      summary: "List resumable uploads",
      params: sandboxParams,
      response: { 200: uploadListSchema.describe("Those that are under way; when many have long paths, these are cut"), ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params } = request;
      const found = await operations.withGuest(params.id, "file.upload", (guest) => guest.uploads({ signal: scope.signal }), scope.bound);
      return reply.send({ items: found.map(toUploadInfo) });
    },
  });

  app.route({
    method: "GET",
    url: "/sandboxes/:id/uploads/:upload_id",
    config: { access: "api" },
    schema: {
      tags,
      operationId: "getUpload",
      summary: "Get a resumable upload",
      description: "`offset`, also as the header `Upload-Offset`, is where to go on.",
      params: uploadParams,
      response: { 200: uploadSchema.describe("The upload"), ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params } = request;
      const id = Number(params.upload_id);
      const found = await operations.withGuest(
        params.id,
        "file.upload",
        (guest) => guest.upload(id, { signal: scope.signal }),
        scope.bound,
      );
      return reply.header("upload-offset", found.offset).send(toUploadInfo(found));
    },
  });

  app.route({
    method: "HEAD",
    url: "/sandboxes/:id/uploads/:upload_id",
    config: { access: "api" },
    schema: {
      tags,
      operationId: "headUpload",
      summary: "Get where a resumable upload stands",
      params: uploadParams,
      response: { 200: z.null().describe("`Upload-Offset` says where to go on"), ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params } = request;
      const id = Number(params.upload_id);
      const found = await operations.withGuest(
        params.id,
        "file.upload",
        (guest) => guest.upload(id, { signal: scope.signal }),
        scope.bound,
      );
      sendHead(reply, 200, { "upload-offset": found.offset, ...(found.size === null ? {} : { "upload-length": found.size }) });
      reply.raw.end();
      return reply;
    },
  });

  app.route({
    method: "POST",
    url: "/sandboxes/:id/uploads/:upload_id/commit",
    // Syncing what came, and reading it once more for its digest, takes as long as it takes.
    config: { access: "api", long: true },
    schema: {
      tags,
      operationId: "commitUpload",
      summary: "Put an uploaded file in place",
      description:
        "Whole, in one step. 409 `conflict` while bytes are missing to the announced size; 422 `digest_mismatch` when it has another digest than `sha256`. In both cases the upload stays as it is.",
      params: uploadParams,
      body: commitUploadSchema,
      response: { 200: writtenFileSchema.describe("The file"), ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params, body } = request;
      const options = { signal: scope.signal, ...(body.sha256 === undefined ? {} : { sha256: body.sha256 }) };
      const { entry, sha256 } = await operations.withGuest(
        params.id,
        "file.upload",
        (guest) => guest.commitUpload(Number(params.upload_id), options),
        { ...scope.bound, detail: "commit" },
      );
      return reply.header("etag", `"${entry.version}"`).send({ ...toFileInfo(entry), sha256 });
    },
  });

  app.route({
    method: "DELETE",
    url: "/sandboxes/:id/uploads/:upload_id",
    config: { access: "api" },
    schema: {
      tags,
      operationId: "cancelUpload",
      summary: "Drop a resumable upload",
      params: uploadParams,
      response: { 204: z.null().describe("Dropped"), ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params } = request;
      const id = Number(params.upload_id);
      await operations.withGuest(params.id, "file.upload", (guest) => guest.cancelUpload(id, { signal: scope.signal }), {
        ...scope.bound,
        detail: "cancel",
      });
      return reply.code(204).send(null);
    },
  });
}

/** The bytes of resumable uploads. */
export function uploadBytesRoutes(app: App, { operations, clock, limits }: DataServices): void {
  app.route({
    method: "PATCH",
    url: "/sandboxes/:id/uploads/:upload_id",
    config: { access: "api", long: true, rawBody: "application/offset+octet-stream" },
    schema: {
      tags,
      operationId: "writeUpload",
      summary: "Send bytes of a resumable upload",
      description:
        "From `Upload-Offset` on, which must be where the upload stands: 409 `conflict`, whose `Upload-Offset` and `detail.offset` say where, otherwise. What came before a break is kept. A second writer ends the first.",
      params: uploadParams,
      response: { 204: z.null().describe("All came; `Upload-Offset` is where it stands now"), ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params, headers } = request;
      const at = offsetOf(headers["upload-offset"]);
      if (headers["content-type"] !== "application/offset+octet-stream")
        throw new CaissonError("invalid_request", "The Content-Type must be application/offset+octet-stream.");
      const body = readUpload(request.raw, { clock, signal: scope.signal, idleMs: limits.uploadIdleMs });
      try {
        const offset = await operations.withGuest(
          params.id,
          "file.upload",
          (guest) => guest.writeUpload(Number(params.upload_id), at, body, { signal: scope.signal }),
          { ...scope.bound, detail: `at ${at}` },
        );
        return await reply.code(204).header("upload-offset", offset).send(null);
      } catch (error) {
        const offset = isCaissonError(error, "conflict") ? error.detail?.offset : undefined;
        if (typeof offset === "number") reply.header("upload-offset", offset);
        throw error;
      }
    },
  });
}

function offsetOf(header: string | string[] | undefined): number {
  if (typeof header === "string" && /^\d{1,15}$/.test(header)) return Number(header);
  const message = "must be the number of bytes that the upload has";
  throw new CaissonError("invalid_request", `The header Upload-Offset ${message}.`, { errors: [{ path: "Upload-Offset", message }] });
}
