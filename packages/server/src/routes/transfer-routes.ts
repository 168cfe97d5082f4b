import {
  CaissonError,
  downloadQuerySchema,
  headFileQuerySchema,
  isCaissonError,
  uploadQuerySchema,
  writtenFileSchema,
} from "@caisson/contract";
import type { Guest } from "@caisson/guest";
import type { FastifyRequest } from "fastify";
import { z } from "zod";
import { CheckedBytes } from "../files/checked-bytes.ts";
import { fileAccess } from "../files/file-access.ts";
import { lookAtFile, openFile, validatorsOf } from "../files/file-download.ts";
import { fileOptions, type FileOptions } from "../files/file-options.ts";
import { toFileInfo } from "../files/file-view.ts";
import { guestPatience } from "../files/patience.ts";
import type { App } from "../http/app.ts";
import { checkConditions, isConditional } from "../http/conditions.ts";
import { announcedSha256 } from "../http/digest-headers.ts";
import { PatientReader } from "../http/patient-reader.ts";
import { sendProblem } from "../http/problem.ts";
import { readUpload } from "../http/read-upload.ts";
import { sendDownload } from "../http/send-download.ts";
import { sendHead } from "../http/send-head.ts";
import type { DataServices } from "../server-options.ts";
import { bytesSchema, content, errors, sandboxParams } from "./route-schema.ts";

const tags = ["Files"];

/** Whole files of any size: bodies are bytes. */
export function transferRoutes(app: App, services: DataServices): void {
  const { operations, clock, limits } = services;

  app.route({
    method: "PUT",
    url: "/sandboxes/:id/files",
    config: { access: "api", long: true, rawBody: "application/octet-stream", token: "file.write" },
    schema: {
      tags,
      operationId: "uploadFile",
      summary: "Upload a file",
      description:
        "Of any size. The file is replaced whole or not at all; missing folders are made. With `Repr-Digest: sha-256=:…:` it is replaced only when the bytes have that digest (422 `digest_mismatch`). `If-Match` and `If-None-Match: *` are checked before the first byte is taken and again before the file is put in place (412). With `offset` the bytes are written in place instead, which none of these can guard. The answer's `sha256` is that of the bytes sent.",
      params: sandboxParams,
      querystring: uploadQuerySchema,
      response: { 200: writtenFileSchema.describe("The file"), ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params, query, headers } = request;
      const announced = announcedSha256(headers);
      if (query.offset !== undefined && (announced !== undefined || isConditional(headers)))
        throw new CaissonError(
          "invalid_request",
          "Bytes that are written in place with offset cannot be taken back: digests and conditions need a whole file.",
        );
      const options = fileOptions(scope, { ...fileAccess(scope, query), mode: query.mode });
      const body = readUpload(request.raw, { clock, signal: scope.signal, idleMs: limits.uploadIdleMs });
      const written = await operations.withGuest(
        params.id,
        "file.write",
        async (guest) => {
          const check = (): Promise<void> => checkWrite(guest, query.path, request, options);
          await check();
          const bytes = new CheckedBytes(body, announced, check);
          const offset = query.offset === undefined ? {} : { offset: query.offset };
          const entry = await guest.writeFile(query.path, bytes, { ...options, ...offset });
          return { ...toFileInfo(entry), sha256: bytes.sha256 };
        },
        { ...scope.bound, detail: query.path },
      );
      return reply.header("etag", `"${written.version}"`).send(written);
    },
  });

  app.route({
    method: "GET",
    url: "/sandboxes/:id/files",
    config: { access: "api", long: true, token: "file.read" },
    schema: {
      tags,
      operationId: "downloadFile",
      summary: "Download a file",
      description:
        "Of any size, or a part of it: one `Range` of bytes (several are answered with the whole file), or `offset` and `length`. `ETag`, `Last-Modified` and the conditions of RFC 9110 are served; `Want-Repr-Digest: sha-256` is answered with the `Repr-Digest` of the version that is sent. A file that changes while it is read breaks the answer off (409 when that is found before the first byte), so that two versions are never mixed; a part named by `offset` or `length` is read as it is, which is how to read a file that is still being written. `X-File-Mode` has its mode in octal digits; `Content-Length` is there when the size is known. A connection that breaks off says that the file is not whole.",
      params: sandboxParams,
      querystring: downloadQuerySchema,
      response: {
        200: content("The bytes", { "application/octet-stream": bytesSchema }),
        206: content("The bytes of the range", { "application/octet-stream": bytesSchema }),
        304: z.null().describe("The client has this version"),
        ...errors,
      },
    },
    handler: async (request, reply) => {
      const { scope, params, query, headers } = request;
      const options = fileOptions(scope, fileAccess(scope, query));
      const part = {
        ...(query.offset === undefined ? {} : { offset: query.offset }),
        ...(query.length === undefined ? {} : { length: query.length }),
      };
      const wish = { headers, options, ...(Object.keys(part).length === 0 ? {} : { part }) };
      try {
        await operations.withGuest(
          params.id,
          "file.read",
          async (guest) => {
            const { content: source, ...answer } = await openFile(guest, query.path, wish);
            if (answer.status === 304 || source === undefined) {
              sendHead(reply, answer.status, answer.headers);
              reply.raw.end();
              return;
            }
            using reader = new PatientReader(source, guestPatience(services, scope.signal, "a file"));
            await sendDownload(reply, { ...answer, status: answer.status, content: reader, signal: scope.signal });
          },
          { ...scope.bound, detail: query.path },
        );
      } catch (error) {
        if (isCaissonError(error, "range_not_satisfiable")) reply.header("content-range", `bytes */${Number(error.detail?.size)}`);
        if (!reply.sent) throw error;
        sendProblem(request, reply, error);
      }
      return reply;
    },
  });

  app.route({
    method: "HEAD",
    url: "/sandboxes/:id/files",
    config: { access: "api", token: "file.read" },
    schema: {
      tags,
      operationId: "headFile",
      summary: "Get what a download would answer",
      description: "The headers of `GET`, to the same conditions; with `Want-Repr-Digest: sha-256` the digest too.",
      params: sandboxParams,
      querystring: headFileQuerySchema,
      response: { 200: z.null().describe("The headers"), 304: z.null().describe("The client has this version"), ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params, query, headers } = request;
      const options = fileOptions(scope, fileAccess(scope, query));
      const answer = await operations.withGuest(params.id, "file.stat", (guest) => lookAtFile(guest, query.path, { headers, options }), {
        ...scope.bound,
        detail: query.path,
      });
      sendHead(reply, answer.status, { ...answer.headers, ...(answer.length === undefined ? {} : { "content-length": answer.length }) });
      reply.raw.end();
      return reply;
    },
  });
}

/** Checks the conditions of a write against what is at the path now. */
async function checkWrite(guest: Guest, path: string, { headers }: FastifyRequest, options: FileOptions): Promise<void> {
  if (!isConditional(headers)) return;
  const { mode: _, ...rest } = options;
  const current = await guest.stat(path, { ...rest, follow: true }).catch((error: unknown) => {
    if (isCaissonError(error, "file_not_found", "not_a_directory")) return undefined;
    throw error;
  });
  checkConditions(headers, current === undefined ? undefined : validatorsOf(current), "write");
}
