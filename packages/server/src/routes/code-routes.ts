import { CaissonError, codeOutcomeSchema, codeRecordSchema, runCodeSchema, type FieldError, type RunCode } from "@caisson/contract";
import type { Guest } from "@caisson/guest";
import { collectCode, streamCode } from "../code/answer-code.ts";
import { defaultContext, findContext, type LiveContext } from "../code/code-contexts.ts";
import { InOrder } from "../code/in-order.ts";
import { runCode, type CodeRun } from "../code/run-code.ts";
import { answerWithStream } from "../exec/stream-output.ts";
import { timeoutOf } from "../exec/process-spec.ts";
import type { App } from "../http/app.ts";
import type { DataServices } from "../server-options.ts";
import { content, errors, sandboxParams } from "./route-schema.ts";

/** Largest body: code of 1 MiB, which JSON may write six times as long, and its variables. */
const CODE_BODY_BYTES = 33_554_432;
/** How long a context may be busy with other code before a call gives up, in ms. */
const WAIT_MS = 60_000;

/** Code in interpreters that keep their state. */
export function codeRoutes(app: App, services: DataServices): void {
  const { operations, clock, random, limits } = services;
  const order = new InOrder();

  /** The context that a request means. */
  const contextOf = async (guest: Guest, sandboxId: string, body: RunCode, signal: AbortSignal): Promise<LiveContext> => {
    if (body.context_id !== undefined) {
      const found = await findContext(guest, body.context_id, { signal });
      if (body.language === undefined || body.language === found.language) return found;
      const message = `is not that of context ${found.id}, which speaks ${found.language}`;
      throw new CaissonError("invalid_request", `The body was refused: language ${message}.`, { errors: [{ path: "language", message }] });
    }
    const { language = "python", user } = body;
    using turn = await order.enter(`${sandboxId} ${language} ${user ?? ""}`, { ms: WAIT_MS, clock, signal });
    if (turn === undefined) throw new CaissonError("deadline_exceeded", "The default context was not made in time.");
    return defaultContext(guest, { language, user }, { signal });
  };

  app.route({
    method: "POST",
    url: "/sandboxes/:id/code",
    bodyLimit: CODE_BODY_BYTES,
    config: { access: "api", long: true },
    schema: {
      tags: ["Code"],
      operationId: "runCode",
      summary: "Run code",
      description:
        "In a context, which keeps its variables, imports and working directory between calls. Answers when the code has ended; an exception in the code is a result, not an error. With `stream` it answers with one JSON record per line, the last of which is `end` or `error`. A context runs one piece of code at a time: calls wait in order, and after 60 seconds get 409 `context_busy`. A client that goes away ends nothing; `interrupt` does. Python and JavaScript answer with the value of the last expression and know top-level `await` and `display(value)`.",
      params: sandboxParams,
      body: runCodeSchema,
      response: {
        200: content("The code has ended, or the stream of its records", {
          "application/json": codeOutcomeSchema,
          "application/x-ndjson": codeRecordSchema,
        }),
        ...errors,
      },
    },
    handler: async (request, reply) => {
      const { body, params, scope } = request;
      const wrong: FieldError[] = [];
      const timeoutMs = timeoutOf(body.timeout, services, wrong);
      const [first] = wrong;
      if (first !== undefined)
        throw new CaissonError("invalid_request", `The body was refused: ${first.path} ${first.message}.`, { errors: wrong });
      const { code, env, workdir } = body;
      const start = async (guest: Guest): Promise<CodeRun> => ({
        context: await contextOf(guest, params.id, body, scope.signal),
        executionId: Buffer.from(random.bytes(16)).toString("hex"),
        code,
        env,
        workdir,
        timeoutMs,
        waitMs: WAIT_MS,
        graceMs: limits.execGraceMs,
        clock,
      });
      const enter = async (run: CodeRun): Promise<Disposable> => {
        const turn = await order.enter(`${params.id} ${run.context.id}`, { ms: WAIT_MS, clock, signal: scope.signal });
        if (turn !== undefined) return turn;
        throw new CaissonError("context_busy", `The context ${run.context.id} has run other code for ${WAIT_MS / 1000} s.`, {
          detail: { context_id: run.context.id },
        });
      };
      // Not bound to the request: code that has begun is watched over to its end.
      const options = { ...scope.unbound, detail: body.language ?? "python" };
      if (body.stream === true)
        return answerWithStream(reply, () =>
          operations.withGuest(
            params.id,
            "code.run",
            async (guest) => {
              const run = await start(guest);
              using _turn = await enter(run);
              await streamCode(request, reply, run, runCode(guest, run, scope.signal), limits.aliveMs);
            },
            options,
          ),
        );
      const outcome = await operations.withGuest(
        params.id,
        "code.run",
        async (guest) => {
          const run = await start(guest);
          using _turn = await enter(run);
          return collectCode(run, runCode(guest, run, scope.signal));
        },
        options,
      );
      return reply.send(outcome);
    },
  });
}
