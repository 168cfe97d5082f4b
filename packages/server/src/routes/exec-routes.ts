import { Readable } from "node:stream";
import { execRecordSchema, execRequestSchema, execResultSchema, processSchema } from "@caisson/contract";
import type { AttachedProcess, Guest } from "@caisson/guest";
import { collectOutput } from "../exec/collect-output.ts";
import { feedStdin } from "../exec/feed-stdin.ts";
import { inputOf, processSpecOf, stdinOf } from "../exec/process-spec.ts";
import { toProcess } from "../exec/process-view.ts";
import { answerWithStream, streamOutput } from "../exec/stream-output.ts";
import type { App } from "../http/app.ts";
import type { DataServices } from "../server-options.ts";
import { content, errors, sandboxParams } from "./route-schema.ts";

/** Largest body of an exec: its input may be 8 MiB, which JSON may write six times as long. */
const EXEC_BODY_BYTES = 67_108_864;

/** Commands. */
export function execRoutes(app: App, services: DataServices): void {
  const { operations, clock, limits } = services;

  app.route({
    method: "POST",
    url: "/sandboxes/:id/exec",
    bodyLimit: EXEC_BODY_BYTES,
    config: { access: "api", long: true },
    schema: {
      tags: ["Processes"],
      operationId: "exec",
      summary: "Run a command",
      description:
        "Answers when the command has ended; an exit code other than 0 is a result, not an error. With `stream` it answers at once with one JSON record per line, the last of which is `exit` or `error`; with `background` it answers 202 with the process, as soon as that has taken its input. A command whose `timeout` passes is killed with all its descendants: 408 `exec_timeout`, whose `detail` has `process_id`, `duration_ms` and the last of `stdout` and `stderr`; in a stream, an `exit` record with `timed_out`. A client that goes away ends nothing.",
      params: sandboxParams,
      body: execRequestSchema,
      response: {
        200: content("The command has ended, or the stream of its records", {
          "application/json": execResultSchema,
          "application/x-ndjson": execRecordSchema,
        }),
        202: processSchema.describe("The process runs in the background"),
        ...errors,
      },
    },
    handler: async (request, reply) => {
      const { body, scope } = request;
      const spec = processSpecOf(body, inputOf(body), services);
      const input = stdinOf(body);
      if (body.background === true) {
        const started = await operations.withGuest(
          request.params.id,
          "exec",
          async (guest) => {
            const { id } = await guest.spawn(spec);
            if (input !== undefined) await guest.writeInput(id, Readable.from([input]), scope.bound);
            if (input !== undefined && body.stdin_open !== true) await guest.closeInput(id);
            return toProcess(await guest.session(id));
          },
          { ...scope.unbound, detail: "background" },
        );
        return reply.code(202).send(started);
      }
      const bounds = { clock, graceMs: limits.execGraceMs, ...(spec.timeoutMs === undefined ? {} : { timeoutMs: spec.timeoutMs }) };
      const start = async (guest: Guest): Promise<AttachedProcess> => {
        const attached = await guest.exec(spec, { signal: scope.signal });
        if (spec.stdin === true) feedStdin(attached, input, body.stdin_open === true ? "keep-open" : "close", request.log);
        return attached;
      };
      if (body.stream === true)
        return answerWithStream(reply, () =>
          operations.withGuest(request.params.id, "exec", async (guest) => streamOutput(request, reply, await start(guest), bounds), {
            ...scope.bound,
            detail: "stream",
          }),
        );
      const result = await operations.withGuest(
        request.params.id,
        "exec",
        async (guest) => collectOutput(await start(guest), { ...bounds, signal: scope.signal }),
        scope.bound,
      );
      return reply.send(result);
    },
  });
}
