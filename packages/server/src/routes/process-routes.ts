import {
  CaissonError,
  execRecordSchema,
  formatDuration,
  isCaissonError,
  listProcessesQuerySchema,
  parseDuration,
  processListSchema,
  processOutputQuerySchema,
  processSchema,
  signalRequestSchema,
  terminalSizeSchema,
  waitQuerySchema,
} from "@caisson/contract";
import type { Guest } from "@caisson/guest";
import type { FastifyRequest } from "fastify";
import { z } from "zod";
import { toProcess } from "../exec/process-view.ts";
import { sendOutput } from "../exec/send-output.ts";
import { answerWithStream, streamOutput } from "../exec/stream-output.ts";
import type { App } from "../http/app.ts";
import { readUpload } from "../http/read-upload.ts";
import { answerWithBytes } from "../http/send-download.ts";
import type { DataServices } from "../server-options.ts";
import { bytesSchema, content, errors, processParams, sandboxParams, tokenQuery } from "./route-schema.ts";

const tags = ["Processes"];

const signalledSchema = z
  .strictObject({ signalled: z.int().meta({ description: "Processes that got it; 0 when all have ended" }) })
  .meta({ id: "Signalled" });

const stdinQuerySchema = z.strictObject({
  close: z.enum(["true", "false"]).optional().meta({ description: "Close standard input after these bytes. Default false" }),
});

/** How long a wait lasts unless asked otherwise, in ms. */
const WAIT_MS = 30_000;

/** Longest wait, in ms. */
const MAX_WAIT_MS = 3_600_000;

const stdinSchema = z.strictObject({ written: z.int().meta({ description: "Bytes taken" }) }).meta({ id: "StdinWritten" });

/** Processes that run or ran in a sandbox. */
export function processRoutes(app: App, { operations, clock, limits }: DataServices): void {
  app.route({
    method: "GET",
    url: "/sandboxes/:id/processes",
    config: { access: "api", token: "exec" },
    schema: {
      tags,
      operationId: "listProcesses",
      summary: "List processes",
      description: "Those started through the API that run, and the last 256 that ended.",
      params: sandboxParams,
      querystring: listProcessesQuerySchema.extend(tokenQuery.shape),
      response: { 200: processListSchema.describe("The processes"), ...errors },
    },
    handler: async (request, reply) => {
      const { scope, query } = request;
      const sessions = await operations.withGuest(request.params.id, "process.list", (guest) => guest.sessions(scope.bound), scope.bound);
      const wanted = query.tag === undefined ? sessions : sessions.filter((session) => session.tag === query.tag);
      return reply.send({ items: wanted.map(toProcess) });
    },
  });

  app.route({
    method: "GET",
    url: "/sandboxes/:id/processes/:process_id",
    config: { access: "api", token: "exec" },
    schema: {
      tags,
      operationId: "getProcess",
      summary: "Get a process",
      params: processParams,
      querystring: tokenQuery,
      response: { 200: processSchema.describe("The process"), ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params } = request;
      const read = await operations.withGuest(
        params.id,
        "process.get",
        (guest) => guest.session(Number(params.process_id), scope.bound),
        scope.bound,
      );
      return reply.send(toProcess(read));
    },
  });

  app.route({
    method: "GET",
    url: "/sandboxes/:id/processes/:process_id/wait",
    config: { access: "api", long: true },
    schema: {
      tags,
      operationId: "waitForProcess",
      summary: "Wait for a process to end",
      description:
        "Answers with the process when it has ended, or when the time has passed first: `running` tells which. It reads no output; a process whose output is full and `on_full` block ends only when somebody reads.",
      params: processParams,
      querystring: waitQuerySchema,
      response: { 200: processSchema.describe("The process"), ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params, query } = request;
      const id = Number(params.process_id);
      const deadlineMs = query.timeout === undefined ? WAIT_MS : (parseDuration(query.timeout) ?? 0);
      if (deadlineMs > MAX_WAIT_MS) throw refusedQuery("timeout", `must be at most ${formatDuration(MAX_WAIT_MS)}`);
      const process = await operations.withGuest(
        params.id,
        "process.wait",
        async (guest) => {
          try {
            if (deadlineMs > 0) await guest.wait(id, { ...scope.bound, deadlineMs });
          } catch (error) {
            if (!isCaissonError(error, "deadline_exceeded")) throw error;
          }
          return guest.session(id, scope.bound);
        },
        scope.bound,
      );
      return reply.send(toProcess(process));
    },
  });

  app.route({
    method: "POST",
    url: "/sandboxes/:id/processes/:process_id/resize",
    config: { access: "api" },
    schema: {
      tags,
      operationId: "resizeProcess",
      summary: "Set the size of a process's terminal",
      description: "Of a process started with `pty`; it is told by `WINCH`.",
      params: processParams,
      body: terminalSizeSchema,
      response: { 204: z.null().describe("It was set"), ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params, body } = request;
      await operations.withGuest(
        params.id,
        "process.resize",
        (guest) => guest.resize(Number(params.process_id), body.cols, body.rows, scope.bound),
        scope.bound,
      );
      return reply.code(204).send(null);
    },
  });

  app.route({
    method: "GET",
    url: "/sandboxes/:id/processes/:process_id/output",
    config: { access: "api", long: true },
    schema: {
      tags,
      operationId: "readProcessOutput",
      summary: "Read or follow a process's output",
      description:
        "One JSON record per line, from byte offsets on: what was cut off is continued where it ended. Bytes that are no longer kept are a `gap`. With `follow` (the default) the last record is `exit` or `error`; without, a process that still runs has neither.\n\nWith `Accept: application/octet-stream` the answer is the bytes of one `stream` and nothing else, several times as fast: `X-Output-Offset` is the offset of its first byte, and `X-Output-Gap`, when it is there, how many bytes before that are no longer kept. It ends when the process has; how that ended, `GET …/processes/{process_id}` tells. A connection that breaks off says that more is to come: ask again from the offset reached. The other stream then counts as taken.",
      params: processParams,
      querystring: processOutputQuerySchema,
      response: {
        200: content("The stream of its records, or the bytes of one stream", {
          "application/x-ndjson": execRecordSchema,
          "application/octet-stream": bytesSchema,
        }),
        ...errors,
      },
    },
    handler: async (request, reply) => {
      const { scope, params, query } = request;
      const processId = Number(params.process_id);
      const bounds = { clock, graceMs: limits.execGraceMs };
      const follow = query.follow !== "false";
      if (wantsBytes(request)) {
        const { stream = "stdout" } = query;
        const other = stream === "stdout" ? "stderr_offset" : "stdout_offset";
        if (query[other] !== undefined) throw refusedQuery(other, `does not belong to the stream ${stream}`);
        const wanted = { processId, stream, offset: query[`${stream}_offset`] ?? 0, follow };
        const send = (guest: Guest): Promise<void> => sendOutput(request, reply, guest, wanted, bounds);
        return answerWithBytes(request, reply, () => operations.withGuest(params.id, "process.output", send, scope.bound));
      }
      if (query.stream !== undefined) throw refusedQuery("stream", "needs Accept: application/octet-stream");
      const from = {
        ...(query.stdout_offset === undefined ? {} : { stdoutOffset: query.stdout_offset }),
        ...(query.stderr_offset === undefined ? {} : { stderrOffset: query.stderr_offset }),
        follow,
      };
      return answerWithStream(reply, () =>
        operations.withGuest(
          params.id,
          "process.output",
          async (guest) => streamOutput(request, reply, await guest.attach(processId, from, scope.bound), bounds),
          scope.bound,
        ),
      );
    },
  });

  app.route({
    method: "POST",
    url: "/sandboxes/:id/processes/:process_id/signal",
    config: { access: "api" },
    schema: {
      tags,
      operationId: "signalProcess",
      summary: "Signal a process",
      params: processParams,
      body: signalRequestSchema,
      response: { 200: signalledSchema.describe("Who got it"), ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params, body } = request;
      const how = {
        ...(body.signal === undefined ? {} : { signal: body.signal }),
        ...(body.scope === undefined ? {} : { scope: body.scope }),
      };
      const signalled = await operations.withGuest(
        params.id,
        "process.signal",
        (guest) => guest.kill(Number(params.process_id), how),
        scope.unbound,
      );
      return reply.send({ signalled });
    },
  });
}

/** Input of processes: bodies are bytes. */
export function processInputRoutes(app: App, { operations, clock, limits }: DataServices): void {
  app.route({
    method: "POST",
    url: "/sandboxes/:id/processes/:process_id/stdin",
    config: { access: "api", long: true, rawBody: "application/octet-stream" },
    schema: {
      tags,
      operationId: "writeProcessInput",
      summary: "Write to a process's standard input",
      description: "Of a process started with `stdin_open`. Takes as long as the process takes to make room.",
      params: processParams,
      querystring: stdinQuerySchema,
      response: { 200: stdinSchema.describe("All of it was taken"), ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params, query } = request;
      const input = readUpload(request.raw, { clock, signal: scope.signal, idleMs: limits.uploadIdleMs });
      const written = await operations.withGuest(
        params.id,
        "process.input",
        async (guest) => {
          const count = await guest.writeInput(Number(params.process_id), input, scope.bound);
          if (query.close === "true") await guest.closeInput(Number(params.process_id), scope.bound);
          return count;
        },
        scope.bound,
      );
      return reply.send({ written });
    },
  });
}

/** Whether the caller asks for bytes instead of records. */
function wantsBytes(request: FastifyRequest): boolean {
  return (request.headers.accept ?? "").split(",").some((type) => type.split(";", 1)[0]?.trim() === "application/octet-stream");
}

function refusedQuery(path: string, message: string): CaissonError {
  return new CaissonError("invalid_request", `The query was refused: ${path} ${message}.`, { errors: [{ path, message }] });
}
