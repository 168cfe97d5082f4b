import { execLogPageSchema, execLogQuerySchema } from "@caisson/contract";
import type { App } from "../http/app.ts";
import type { Services } from "../server-options.ts";
import { errors, sandboxParams } from "./route-schema.ts";

/** What was run in sandboxes. */
export function historyRoutes(app: App, { operations }: Services): void {
  app.route({
    method: "GET",
    url: "/sandboxes/:id/exec-log",
    config: { access: "api" },
    schema: {
      tags: ["Processes"],
      operationId: "getExecLog",
      summary: "Get what was run in a sandbox",
      description:
        "Newest first, also after the sandbox's end, for as long as `retention.exec_log` says. Commands are recorded as they were given; environments, input and output are not.",
      params: sandboxParams,
      querystring: execLogQuerySchema,
      response: { 200: execLogPageSchema.describe("One page"), ...errors },
    },
    handler: async (request, reply) => reply.send(await operations.execLog(request.params.id, request.query, request.scope.bound)),
  });
}
