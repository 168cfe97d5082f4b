import { listWorkersQuerySchema, removeWorkerQuerySchema, workerPageSchema, workerSchema } from "@caisson/contract";
import type { App } from "../http/app.ts";
import type { Services } from "../server-options.ts";
import { errors, workerParams } from "./route-schema.ts";

const tags = ["Workers"];

/** Where workers are found; the second is for admins and shows the same. */
const PREFIXES = ["/workers", "/admin/workers"] as const;

/** Machines that run sandboxes. */
export function workerRoutes(app: App, { workers }: Services): void {
  for (const prefix of PREFIXES) {
    const alias = prefix !== PREFIXES[0];
    const access = alias ? "admin" : "api";

    app.route({
      method: "GET",
      url: prefix,
      config: { access },
      schema: {
        hide: alias,
        tags,
        operationId: "listWorkers",
        summary: "List workers",
        description:
          "By id. Those that were removed are left out unless `state` names them. `/admin/workers` answers the same to the admin key.",
        querystring: listWorkersQuerySchema,
        response: { 200: workerPageSchema.describe("One page"), ...errors },
      },
      handler: async (request, reply) => reply.send(await workers.list(request.query, request.scope.bound)),
    });

    app.route({
      method: "GET",
      url: `${prefix}/:worker_id`,
      config: { access },
      schema: {
        hide: alias,
        tags,
        operationId: "getWorker",
        summary: "Get a worker",
        description: "What its machine has, what it was promised, and when it was last heard of; also one that was removed.",
        params: workerParams,
        response: { 200: workerSchema.describe("The worker"), ...errors },
      },
      handler: async (request, reply) => reply.send(await workers.get(request.params.worker_id, request.scope.bound)),
    });

    app.route({
      method: "DELETE",
      url: `${prefix}/:worker_id`,
      config: { access: "admin" },
      schema: {
        hide: alias,
        tags,
        operationId: "removeWorker",
        summary: "Remove a worker",
        description:
          "It gets no sandboxes any more, its credentials are refused and its links end. A worker that has sandboxes is kept: `worker_in_use`, whose detail names them. With `force` they are destroyed, as far as the worker can be reached; the rest when it returns. The worker `local` is removed until its server starts again.",
        params: workerParams,
        querystring: removeWorkerQuerySchema,
        response: { 200: workerSchema.describe("The worker as it ended"), ...errors },
      },
      handler: async (request, reply) => {
        const force = request.query.force === "true";
        return reply.send(await workers.remove(request.params.worker_id, { ...request.scope.unbound, ...(force ? { force } : {}) }));
      },
    });
  }

  app.route({
    method: "POST",
    url: "/workers/:worker_id/drain",
    config: { access: "admin" },
    schema: {
      tags,
      operationId: "drainWorker",
      summary: "Drain a worker",
      description: "It keeps its sandboxes and gets no new ones, also after a restart, until it is undrained. Repeating it is fine.",
      params: workerParams,
      response: { 200: workerSchema.describe("The worker"), ...errors },
    },
    handler: async (request, reply) => reply.send(await workers.drain(request.params.worker_id, request.scope.unbound)),
  });

  app.route({
    method: "POST",
    url: "/workers/:worker_id/undrain",
    config: { access: "admin" },
    schema: {
      tags,
      operationId: "undrainWorker",
      summary: "Give a worker sandboxes again",
      description: "Undoes what an admin asked for; a worker that drains because it shuts down goes on with that. Repeating it is fine.",
      params: workerParams,
      response: { 200: workerSchema.describe("The worker"), ...errors },
    },
    handler: async (request, reply) => reply.send(await workers.undrain(request.params.worker_id, request.scope.unbound)),
  });

  app.route({
    method: "POST",
    url: "/workers/:worker_id/revoke",
    config: { access: "admin" },
    schema: {
      tags,
      operationId: "revokeWorker",
      summary: "Revoke a worker's credentials",
      description:
        "What was issued to it until now is refused from its next heartbeat on, and its links end; it must join again. Its sandboxes stay where they are.",
      params: workerParams,
      response: { 200: workerSchema.describe("The worker"), ...errors },
    },
    handler: async (request, reply) => reply.send(await workers.revoke(request.params.worker_id, request.scope.unbound)),
  });
}
