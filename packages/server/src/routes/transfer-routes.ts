import { CaissonError, downloadQuerySchema, fileInfoSchema, uploadQuerySchema } from "@caisson/contract";
import type { FileEntry } from "@caisson/guest";
import { z } from "zod";
import { fileOptions } from "../files/file-options.ts";
import { modeText, toFileInfo } from "../files/file-view.ts";
import type { App } from "../http/app.ts";
import { PatientReader } from "../http/patient-reader.ts";
import { sendProblem } from "../http/problem.ts";
import { readUpload } from "../http/read-upload.ts";
import { sendDownload } from "../http/send-download.ts";
import type { Services } from "../server-options.ts";
import { content, errors, sandboxParams } from "./route-schema.ts";

const tags = ["Files"];

/** Raw bytes, for the API reference. */
const bytesSchema = z.string().meta({ format: "binary" });

/** Whole files of any size: bodies are bytes. */
export function transferRoutes(app: App, { operations, clock, limits }: Services): void {
  app.route({
    method: "PUT",
    url: "/sandboxes/:id/files",
    config: { access: "api", long: true, rawBody: "application/octet-stream" },
    schema: {
      tags,
      operationId: "uploadFile",
      summary: "Upload a file",
      description:
        "Of any size. The file is replaced whole or not at all; missing folders are made. With `offset` the bytes are written in place instead.",
      params: sandboxParams,
      querystring: uploadQuerySchema,
      response: { 200: fileInfoSchema.describe("The file"), ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params, query } = request;
      const bytes = readUpload(request.raw, { clock, signal: scope.signal, idleMs: limits.uploadIdleMs });
      const options = { ...fileOptions(scope, query), ...(query.offset === undefined ? {} : { offset: query.offset }) };
      const entry = await operations.withGuest(params.id, "file.write", (guest) => guest.writeFile(query.path, bytes, options), {
        ...scope.bound,
        detail: query.path,
      });
      return reply.send(toFileInfo(entry));
    },
  });

  app.route({
    method: "GET",
    url: "/sandboxes/:id/files",
    config: { access: "api", long: true },
    schema: {
      tags,
      operationId: "downloadFile",
      summary: "Download a file",
      description:
        "Of any size, or a part of it. `X-File-Mode` has its mode in octal digits; `Content-Length` is there when the size is known. A connection that breaks off says that the file is not whole.",
      params: sandboxParams,
      querystring: downloadQuerySchema,
      response: { 200: content("The bytes", { "application/octet-stream": bytesSchema }), ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params, query } = request;
      const part = {
        ...(query.offset === undefined ? {} : { offset: query.offset }),
        ...(query.length === undefined ? {} : { length: query.length }),
      };
      try {
        await operations.withGuest(
          params.id,
          "file.read",
          async (guest) => {
            const { entry, content: source } = await guest.readFile(query.path, { ...fileOptions(scope, query), ...part });
            using reader = new PatientReader(source, {
              clock,
              signal: scope.signal,
              fromMs: 0,
              silentMs: limits.guestSilenceMs,
              late: () => new CaissonError("agent_unreachable", "The sandbox stopped answering in the middle of a file."),
            });
            await sendDownload(reply, {
              content: reader,
              length: lengthOf(entry, query.offset, query.length),
              signal: scope.signal,
              headers: {
                "content-type": "application/octet-stream",
                "content-disposition": "attachment",
                "x-file-mode": modeText(entry.mode),
              },
            });
          },
          { ...scope.bound, detail: query.path },
        );
      } catch (error) {
        if (!reply.sent) throw error;
        sendProblem(request, reply, error);
      }
      return reply;
    },
  });
}

/** How many bytes a download has; files of the kernel say 0 and have more. */
function lengthOf(entry: FileEntry, offset = 0, length = Number.POSITIVE_INFINITY): number | undefined {
  if (entry.type !== "file" || entry.size === 0) return undefined;
  return Math.max(0, Math.min(length, entry.size - offset));
}
