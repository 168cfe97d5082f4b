import {
  CaissonError,
  fileChangeSchema,
  WATCH_PLACE_PATTERN,
  watchFilesQuerySchema,
  watchGapSchema,
  watchOverflowSchema,
  watchReadySchema,
  watchResetSchema,
} from "@caisson/contract";
import { z } from "zod";
import { answerWithStream } from "../exec/stream-output.ts";
import { watchChanges } from "../files/watch-changes.ts";
import { readPlace } from "../files/watch-events.ts";
import type { App } from "../http/app.ts";
import { streamEvents } from "../http/sse-stream.ts";
import type { DataServices } from "../server-options.ts";
import { content, errors, sandboxParams, watchParams } from "./route-schema.ts";

const tags = ["Files"];

/** The data of the events, for the API reference. */
const eventSchema = z.union([watchReadySchema, fileChangeSchema, watchGapSchema, watchOverflowSchema, watchResetSchema]);

/** Changes of folders as they happen. */
export function watchRoutes(app: App, { operations, clock }: DataServices): void {
  app.route({
    method: "GET",
    url: "/sandboxes/:id/files/watch",
    config: { access: "api", long: true },
    schema: {
      tags,
      operationId: "watchFiles",
      summary: "Watch a folder or file",
      description:
        "Server-sent events: `ready` once the watch is on; `change`; `gap` when the reader was too slow and changes `[from, to)` are lost; `overflow` when the kernel dropped some; `end` when the watch was closed, or `error`, last. Each event's id is `<watch>-<seq>`: sent as `Last-Event-ID` or `after`, the same watch goes on after it, also when the server was restarted. When the sandbox has that watch no more, `reset` comes first and a new watch begins: read the folder again. A watch without a reader is closed after 5 minutes; at most 64 are open at once. Every 15 seconds a comment keeps the connection alive.",
      params: sandboxParams,
      querystring: watchFilesQuerySchema,
      response: { 200: content("The stream of changes", { "text/event-stream": eventSchema }), ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params, query } = request;
      const after = lastEventId(request.headers["last-event-id"]) ?? query.after;
      const wish = {
        path: query.path,
        recursive: query.recursive === "true",
        ...(query.user === undefined ? {} : { user: query.user }),
        ...(after === undefined ? {} : { after: readPlace(after) }),
      };
      return answerWithStream(reply, () =>
        operations.withGuest(
          params.id,
          "file.watch",
          async (guest) => streamEvents(request, reply, await watchChanges(guest, wish, scope.signal), { clock }),
          { ...scope.bound, detail: query.path },
        ),
      );
    },
  });

  app.route({
    method: "DELETE",
    url: "/sandboxes/:id/files/watch/:watch_id",
    config: { access: "api" },
    schema: {
      tags,
      operationId: "closeWatch",
      summary: "Close a watch",
      description: "Its streams end.",
      params: watchParams,
      response: { 204: z.null().describe("Closed"), ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params } = request;
      const id = Number(params.watch_id);
      await operations.withGuest(params.id, "file.watch", (guest) => guest.closeWatch(id, { signal: scope.signal }), {
        ...scope.bound,
        detail: "close",
      });
      return reply.code(204).send(null);
    },
  });
}

/** The header of a browser that comes again; it sends an empty one before it had any event. */
function lastEventId(header: string | string[] | undefined): string | undefined {
  if (header === undefined || header === "") return undefined;
  if (typeof header === "string" && WATCH_PLACE_PATTERN.test(header)) return header;
  const message = "must be the id of an event of a watch";
  throw new CaissonError("invalid_request", `The header Last-Event-ID ${message}.`, { errors: [{ path: "Last-Event-ID", message }] });
}
