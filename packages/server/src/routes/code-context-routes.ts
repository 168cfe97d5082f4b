import {
  codeContextListSchema,
  codeContextSchema,
  createCodeContextSchema,
  restartCodeContextSchema,
  type CodeContext,
} from "@caisson/contract";
import type { Guest } from "@caisson/guest";
import { z } from "zod";
import {
  contextTag,
  endContext,
  findContext,
  languageOf,
  listContexts,
  startContext,
  toCodeContext,
  type ContextWish,
} from "../code/code-contexts.ts";
import { runCode } from "../code/run-code.ts";
import type { App } from "../http/app.ts";
import type { DataServices } from "../server-options.ts";
import { codeContextParams, errors, sandboxParams } from "./route-schema.ts";

const tags = ["Code"];
/** Time for a new interpreter to answer, in ms. */
const READY_MS = 30_000;

const interruptedSchema = z
  .strictObject({ signalled: z.int().meta({ description: "Processes that got the signal" }) })
  .meta({ id: "CodeInterrupted" });

/** Contexts of code. */
export function codeContextRoutes(app: App, services: DataServices): void {
  const { operations, clock, random, limits } = services;

  /** Starts a context and waits until it answers, so that a missing interpreter is told at once. */
  const create = async (guest: Guest, wish: ContextWish, signal: AbortSignal): Promise<CodeContext> => {
    const context = await startContext(guest, wish, { signal });
    const executionId = Buffer.from(random.bytes(16)).toString("hex");
    const first = { context, executionId, code: "", timeoutMs: READY_MS, waitMs: READY_MS, graceMs: limits.execGraceMs, clock };
    for await (const _event of runCode(guest, first, signal)) continue;
    return toCodeContext(await findContext(guest, context.id, { signal }), wish.language);
  };

  app.route({
    method: "POST",
    url: "/sandboxes/:id/code/contexts",
    config: { access: "api", long: true },
    schema: {
      tags,
      operationId: "createCodeContext",
      summary: "Create a context",
      description:
        "An interpreter of its own. It lives until it is removed, ends itself, or its sandbox ends; a restart of the server does not touch it. 422 `unsupported` when the image lacks the interpreter.",
      params: sandboxParams,
      body: createCodeContextSchema,
      response: { 201: codeContextSchema.describe("It is ready"), ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params, body } = request;
      const made = await operations.withGuest(
        params.id,
        "code.contexts",
        (guest) => create(guest, { ...body, tag: contextTag(body.language) }, scope.signal),
        { ...scope.bound, detail: body.language },
      );
      return reply.code(201).send(made);
    },
  });

  app.route({
    method: "GET",
    url: "/sandboxes/:id/code/contexts",
    config: { access: "api" },
    schema: {
      tags,
      operationId: "listCodeContexts",
      summary: "List contexts",
      params: sandboxParams,
      response: { 200: codeContextListSchema.describe("Those that live, the default ones among them"), ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params } = request;
      const found = await operations.withGuest(params.id, "code.contexts", (guest) => listContexts(guest, scope.bound), scope.bound);
      return reply.send({
        items: found.flatMap((session) => {
          const language = languageOf(session);
          return language === undefined ? [] : [toCodeContext(session, language)];
        }),
      });
    },
  });

  app.route({
    method: "GET",
    url: "/sandboxes/:id/code/contexts/:context_id",
    config: { access: "api" },
    schema: {
      tags,
      operationId: "getCodeContext",
      summary: "Get a context",
      params: codeContextParams,
      response: { 200: codeContextSchema.describe("The context"), ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params } = request;
      const id = Number(params.context_id);
      const found = await operations.withGuest(params.id, "code.contexts", (guest) => findContext(guest, id, scope.bound), scope.bound);
      return reply.send(toCodeContext(found, found.language));
    },
  });

  app.route({
    method: "DELETE",
    url: "/sandboxes/:id/code/contexts/:context_id",
    config: { access: "api" },
    schema: {
      tags,
      operationId: "removeCodeContext",
      summary: "Remove a context",
      description: "It is killed with all that its code started; code that runs in it ends with the error `ContextEnded`.",
      params: codeContextParams,
      response: { 204: z.null().describe("Gone"), ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params } = request;
      await operations.withGuest(
        params.id,
        "code.contexts",
        async (guest) => endContext(guest, (await findContext(guest, Number(params.context_id), scope.bound)).id, scope.bound),
        { ...scope.bound, detail: "remove" },
      );
      return reply.code(204).send(null);
    },
  });

  app.route({
    method: "POST",
    url: "/sandboxes/:id/code/contexts/:context_id/interrupt",
    config: { access: "api" },
    schema: {
      tags,
      operationId: "interruptCode",
      summary: "Interrupt a context",
      description:
        "As Ctrl-C does: the code that runs in it, and programs that it waits for, get SIGINT; its state stays. Idle contexts ignore it.",
      params: codeContextParams,
      response: { 200: interruptedSchema.describe("It was told"), ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params } = request;
      const signalled = await operations.withGuest(
        params.id,
        "code.interrupt",
        async (guest) => {
          const { id } = await findContext(guest, Number(params.context_id), scope.bound);
          return guest.kill(id, { signal: "INT", scope: "group" });
        },
        scope.bound,
      );
      return reply.send({ signalled });
    },
  });

  app.route({
    method: "POST",
    url: "/sandboxes/:id/code/contexts/:context_id/restart",
    config: { access: "api", long: true },
    schema: {
      tags,
      operationId: "restartCodeContext",
      summary: "Restart a context",
      description: "Kills it and starts another of the same language, user and working directory, which has an id of its own.",
      params: codeContextParams,
      body: restartCodeContextSchema.optional(),
      response: { 201: codeContextSchema.describe("The new one"), ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params, body } = request;
      const made = await operations.withGuest(
        params.id,
        "code.contexts",
        async (guest) => {
          const old = await findContext(guest, Number(params.context_id), scope.bound);
          await endContext(guest, old.id, scope.bound);
          const wish = {
            language: old.language,
            user: old.user,
            workdir: old.cwd,
            env: body?.env,
            tag: old.tag ?? contextTag(old.language),
          };
          return create(guest, wish, scope.signal);
        },
        { ...scope.bound, detail: "restart" },
      );
      return reply.code(201).send(made);
    },
  });
}
