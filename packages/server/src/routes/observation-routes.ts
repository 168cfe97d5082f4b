import {
  consolePageSchema,
  consoleQuerySchema,
  CaissonError,
  followConsoleQuerySchema,
  followStatsQuerySchema,
  parseDuration,
  sandboxEndSchema,
  sandboxStatsSchema,
  type ConsoleRange,
} from "@caisson/contract";
import { z } from "zod";
import { answerWithStream } from "../exec/stream-output.ts";
import type { App } from "../http/app.ts";
import { lastEventIdHeaders, streamEvents, type ServerSentEvent } from "../http/sse-stream.ts";
import { followStats } from "../observation/follow-stats.ts";
import { endOf } from "../observation/sandbox-end.ts";
import { statsView } from "../observation/stats-view.ts";
import type { DataServices } from "../server-options.ts";
import { content, errors, sandboxParams } from "./route-schema.ts";

const tags = ["Sandboxes"];
/** Lines of a console that asks for no number. */
const DEFAULT_LINES = 100;
/** Lines after a cursor that asks for no number. */
const DEFAULT_LIMIT = 1_000;

const ENDED = "The last event is `ended` when the sandbox has ended, or `error`. A comment comes every 15 s.";

/** What is seen of sandboxes from outside. */
export function observationRoutes(app: App, { operations, clock }: DataServices): void {
  app.route({
    method: "GET",
    url: "/sandboxes/:id/logs",
    config: { access: "api" },
    schema: {
      tags,
      operationId: "getSandboxLogs",
      summary: "Get a sandbox's console",
      description:
        "What the box itself wrote, for finding out what is wrong with it: the last lines, or those after a cursor. Output of commands is not in it.",
      params: sandboxParams,
      querystring: consoleQuerySchema,
      response: { 200: consolePageSchema.describe("The lines"), ...errors },
    },
    handler: async (request, reply) => {
      const { after, lines = DEFAULT_LINES, limit = DEFAULT_LIMIT } = request.query;
      const range = after === undefined ? { lines } : { after: offsetOf(after), limit };
      const chunk = await operations.logs(request.params.id, range, request.scope.bound);
      return reply.send({ lines: [...chunk.lines], next_cursor: String(chunk.end), truncated: chunk.truncated });
    },
  });

  app.route({
    method: "GET",
    url: "/sandboxes/:id/logs/stream",
    config: { access: "api", long: true },
    schema: {
      tags,
      operationId: "followSandboxLogs",
      summary: "Follow a sandbox's console",
      description: `Server-sent events \`lines\`, whose id is the cursor after them: a client that was cut off goes on there. ${ENDED}`,
      params: sandboxParams,
      querystring: followConsoleQuerySchema,
      headers: lastEventIdHeaders,
      response: {
        200: content("The lines, a few at a time", { "text/event-stream": z.union([consolePageSchema, sandboxEndSchema]) }),
        ...errors,
      },
    },
    handler: async (request, reply) => {
      const { params, query, headers, scope } = request;
      const after = headers["last-event-id"] ?? query.after;
      const from: ConsoleRange =
        after === undefined ? { lines: query.lines ?? DEFAULT_LINES } : { after: offsetOf(after), limit: DEFAULT_LIMIT };
      const chunks = await operations.followLogs(params.id, from, scope.bound);
      async function* events(): AsyncGenerator<ServerSentEvent, void, void> {
        for await (const { lines, end, truncated } of chunks)
          yield { event: "lines", id: String(end), data: { lines, next_cursor: String(end), truncated } };
        yield { event: "ended", data: endOf(await operations.get(params.id, scope.bound)) };
      }
      return answerWithStream(reply, () => streamEvents(request, reply, events(), { clock }));
    },
  });

  app.route({
    method: "GET",
    url: "/sandboxes/:id/stats",
    config: { access: "api" },
    schema: {
      tags,
      operationId: "getSandboxStats",
      summary: "Get what a sandbox uses",
      params: sandboxParams,
      response: { 200: sandboxStatsSchema.describe("The figures"), ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params } = request;
      const read = operations.withGuest(
        params.id,
        "stats",
        async (guest, sandbox) => statsView(await guest.stats(scope.bound), sandbox, clock.now()),
        scope.bound,
      );
      return reply.send(await read);
    },
  });

  app.route({
    method: "GET",
    url: "/sandboxes/:id/stats/stream",
    config: { access: "api", long: true },
    schema: {
      tags,
      operationId: "followSandboxStats",
      summary: "Follow what a sandbox uses",
      description: `Server-sent events \`stats\`, the first at once, then one per interval. ${ENDED}`,
      params: sandboxParams,
      querystring: followStatsQuerySchema,
      response: {
        200: content("The figures, again and again", { "text/event-stream": z.union([sandboxStatsSchema, sandboxEndSchema]) }),
        ...errors,
      },
    },
    handler: async (request, reply) => {
      const { params, query, scope } = request;
      const everyMs = parseDuration(query.interval ?? "1s") ?? 1_000;
      return answerWithStream(reply, () =>
        operations.withGuest(
          params.id,
          "stats.follow",
          async (guest, sandbox) => {
            const look = () => operations.get(params.id, scope.bound);
            const stats = followStats({ guest, sandbox, look, clock, everyMs, signal: scope.signal });
            await streamEvents(request, reply, stats, { clock });
          },
          scope.bound,
        ),
      );
    },
  });
}

function offsetOf(cursor: string): number {
  if (/^\d{1,15}$/.test(cursor)) return Number(cursor);
  const errors = [{ path: "after", message: "is not a cursor of a console" }];
  throw new CaissonError("invalid_request", "The cursor is not one that this server gave.", { errors });
}
