import { formUploadQuerySchema, formUploadSchema } from "@caisson/contract";
import { CheckedBytes } from "../files/checked-bytes.ts";
import { fileOptions } from "../files/file-options.ts";
import { toFileInfo } from "../files/file-view.ts";
import { FORM_FILES, writeForm } from "../files/form-files.ts";
import type { App } from "../http/app.ts";
import { readUpload } from "../http/read-upload.ts";
import type { DataServices } from "../server-options.ts";
import { errors, sandboxParams } from "./route-schema.ts";

/** Several files in one request, as browsers and `curl -F` send them. */
export function formRoutes(app: App, { operations, clock, limits }: DataServices): void {
  app.route({
    method: "POST",
    url: "/sandboxes/:id/files/upload",
    config: { access: "api", long: true, rawBody: "multipart/form-data" },
    schema: {
      tags: ["Files"],
      operationId: "uploadForm",
      summary: "Upload several files",
      description: `As a form, at most ${FORM_FILES} files of any size. The path of each is the field \`path\` right before it, else the name of its own field. Each file is replaced whole or not at all; when the form breaks off or one file fails, those before it have been written.`,
      params: sandboxParams,
      querystring: formUploadQuerySchema,
      response: { 200: formUploadSchema.describe("The files, in the order of the form"), ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params, query, headers } = request;
      const options = fileOptions(scope, query);
      const body = readUpload(request.raw, { clock, signal: scope.signal, idleMs: limits.uploadIdleMs });
      const items = await operations.withGuest(
        params.id,
        "file.write",
        (guest) =>
          writeForm(body, headers["content-type"] ?? "", async (path, content) => {
            const bytes = new CheckedBytes(content, undefined);
            const entry = await guest.writeFile(path, bytes, options);
            return { ...toFileInfo(entry), sha256: bytes.sha256 };
          }),
        { ...scope.bound, detail: "form" },
      );
      return reply.send({ items });
    },
  });
}
