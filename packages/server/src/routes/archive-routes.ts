import { readArchiveQuerySchema, unpackedSchema, writeArchiveQuerySchema } from "@caisson/contract";
import { fileOptions } from "../files/file-options.ts";
import { guestPatience } from "../files/patience.ts";
import type { App } from "../http/app.ts";
import { PatientReader } from "../http/patient-reader.ts";
import { readUpload } from "../http/read-upload.ts";
import { answerWithBytes, sendDownload } from "../http/send-download.ts";
import type { DataServices } from "../server-options.ts";
import { bytesSchema, content, errors, sandboxParams } from "./route-schema.ts";

const tags = ["Files"];

/** Folders as tar streams: made and unpacked in the sandbox, only passed through here. */
export function archiveRoutes(app: App, services: DataServices): void {
  const { operations, clock, limits } = services;

  app.route({
    method: "GET",
    url: "/sandboxes/:id/files/archive",
    config: { access: "api", long: true },
    schema: {
      tags,
      operationId: "downloadArchive",
      summary: "Download a folder",
      description:
        "As a tar stream (POSIX pax), names relative to the folder; or of one file. Not compressed. Two blocks of zeros end it: a stream that breaks off without them is not whole.",
      params: sandboxParams,
      querystring: readArchiveQuerySchema,
      response: { 200: content("The archive", { "application/x-tar": bytesSchema }), ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params, query } = request;
      const exclude = query.exclude === undefined ? {} : { exclude: [query.exclude].flat() };
      return answerWithBytes(request, reply, () =>
        operations.withGuest(
          params.id,
          "file.archive",
          async (guest) => {
            const opened = await guest.readTree(query.path, { ...fileOptions(scope, { user: query.user }), ...exclude });
            using reader = new PatientReader(opened.content, guestPatience(services, scope.signal, "an archive"));
            const headers = { "content-type": "application/x-tar", "content-disposition": "attachment" };
            await sendDownload(reply, { status: 200, content: reader, length: undefined, headers, signal: scope.signal });
          },
          { ...scope.bound, detail: query.path },
        ),
      );
    },
  });

  app.route({
    method: "PUT",
    url: "/sandboxes/:id/files/archive",
    config: { access: "api", long: true, rawBody: "application/x-tar" },
    schema: {
      tags,
      operationId: "uploadArchive",
      summary: "Upload a folder",
      description:
        "As a tar stream, not compressed. A folder that does not exist appears whole or not at all; into one that does, each file is replaced whole or not at all. No name and no link in the archive leads out of the folder.",
      params: sandboxParams,
      querystring: writeArchiveQuerySchema,
      response: { 200: unpackedSchema.describe("What was unpacked"), ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params, query } = request;
      const body = readUpload(request.raw, { clock, signal: scope.signal, idleMs: limits.uploadIdleMs });
      const options = {
        ...fileOptions(scope, query),
        ...(query.keep_owners === undefined ? {} : { keepOwners: query.keep_owners === "true" }),
      };
      const unpacked = await operations.withGuest(params.id, "file.extract", (guest) => guest.writeTree(query.path, body, options), {
        ...scope.bound,
        detail: query.path,
      });
      return reply.send(unpacked);
    },
  });
}
