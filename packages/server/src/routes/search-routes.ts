import {
  type ReplaceInFiles,
  type Replaced,
  replacedSchema,
  replaceInFilesSchema,
  type SearchFiles,
  searchFilesSchema,
  searchRecordSchema,
} from "@caisson/contract";
import type { SearchOptions, SearchSummary } from "@caisson/guest";
import { answerWithStream } from "../exec/stream-output.ts";
import { MAX_LIST_TEXT } from "../files/collect-entries.ts";
import { fileOptions } from "../files/file-options.ts";
import { noting } from "../files/noting.ts";
import { callersPatience } from "../files/patience.ts";
import { streamMatches } from "../files/stream-matches.ts";
import type { App } from "../http/app.ts";
import { PatientReader } from "../http/patient-reader.ts";
import type { DataServices } from "../server-options.ts";
import { content, errors, sandboxParams } from "./route-schema.ts";

const tags = ["Files"];

/** Search and replacement in the contents of files. */
export function searchRoutes(app: App, services: DataServices): void {
  const { operations, limits } = services;

  app.route({
    method: "POST",
    url: "/sandboxes/:id/files/search",
    config: { access: "api", long: true },
    schema: {
      tags,
      operationId: "searchFiles",
      summary: "Search in files",
      description:
        "One JSON record per line, as matches are found; the last one is `summary` or `error`. Binary files, larger ones than `max_file_bytes` and unreadable ones are skipped and counted.",
      params: sandboxParams,
      body: searchFilesSchema,
      response: { 200: content("The stream of matches", { "application/x-ndjson": searchRecordSchema }), ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params, body } = request;
      const options = {
        ...fileOptions(scope, { user: body.user }),
        ...searchOptions(body),
        ...(body.limit === undefined ? {} : { limit: body.limit }),
      };
      return answerWithStream(reply, () =>
        operations.withGuest(
          params.id,
          "file.search",
          (guest) => streamMatches(request, reply, guest.search(body.path, body.pattern, options), services),
          { ...scope.bound, detail: body.path },
        ),
      );
    },
  });

  app.route({
    method: "POST",
    url: "/sandboxes/:id/files/replace",
    config: { access: "api", long: true },
    schema: {
      tags,
      operationId: "replaceInFiles",
      summary: "Replace in files",
      description:
        "Each file is rewritten whole or not at all, one after the other: a request that breaks off leaves those before it changed. `dry_run` tells what would be done.",
      params: sandboxParams,
      body: replaceInFilesSchema,
      response: { 200: replacedSchema.describe("What was changed"), ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params, body } = request;
      const options = { ...fileOptions(scope, { user: body.user }), ...searchOptions(body), dryRun: body.dry_run === true };
      const replaced = await operations.withGuest(
        params.id,
        "file.replace",
        async (guest): Promise<Replaced> => {
          let summary: SearchSummary | undefined;
          const source = noting(guest.replace(body.path, body.pattern, body.replacement, options), (last) => (summary = last));
          using reader = new PatientReader(source, callersPatience(services, scope.signal));
          const items: Replaced["items"] = [];
          let count = 0;
          let text = 0;
          let cut = false;
          for (let batch = await reader.next(); batch !== undefined; batch = await reader.next()) {
            for (const file of batch) {
              count += file.count;
              text += file.path.length;
              cut ||= items.length === limits.listEntries || text > MAX_LIST_TEXT;
              if (!cut) items.push(file);
            }
          }
          return { items, count, files: summary?.files ?? 0, skipped: summary?.skipped ?? 0, truncated: cut };
        },
        { ...scope.bound, detail: body.path },
      );
      return reply.send(replaced);
    },
  });
}

function searchOptions(body: SearchFiles | ReplaceInFiles): SearchOptions {
  return {
    ...(body.fixed === undefined ? {} : { fixed: body.fixed }),
    ...(body.ignore_case === undefined ? {} : { ignoreCase: body.ignore_case }),
    ...(body.include === undefined ? {} : { include: body.include }),
    ...(body.exclude === undefined ? {} : { exclude: body.exclude }),
    ...(body.max_file_bytes === undefined ? {} : { maxFileBytes: body.max_file_bytes }),
  };
}
