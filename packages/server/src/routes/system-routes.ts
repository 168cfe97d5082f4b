import { CaissonError, providerReportSchema, type ProviderReport } from "@caisson/contract";
import { z } from "zod";
import type { App } from "../http/app.ts";
import type { Services } from "../server-options.ts";
import { errors, sandboxParams } from "./route-schema.ts";

/** Lines of a console that asks for no number. */
const DEFAULT_LINES = 100;

const logsQuerySchema = z.strictObject({
  lines: z.coerce
    .number()
    .int()
    .min(1)
    .max(10_000)
    .optional()
    .meta({ description: `Most lines, default ${DEFAULT_LINES}` }),
});

const statsSchema = z
  .strictObject({
    uptime_ms: z.int(),
    processes: z.int().meta({ description: "Processes of the sandbox, its own included" }),
    sessions: z.int().meta({ description: "Processes started through the API that run" }),
    memory_bytes: z.int(),
    cpu_ms: z.int().meta({ description: "Processor time used, in ms" }),
    disk_total: z.int().meta({ description: "Bytes" }),
    disk_free: z.int().meta({ description: "Bytes" }),
  })
  .meta({ id: "SandboxStats", description: "Figures of a sandbox as its agent sees them" });

const workerSchema = z
  .strictObject({ id: z.string(), version: z.string(), preview_domain: z.string().nullable(), providers: z.array(providerReportSchema) })
  .meta({ id: "Worker", description: "A worker and what its machine can do" });

/** What is seen of sandboxes from outside, and of the machines that run them. */
export function systemRoutes(app: App, { operations, describeWorkers }: Services): void {
  app.route({
    method: "GET",
    url: "/sandboxes/:id/logs",
    config: { access: "api" },
    schema: {
      tags: ["Sandboxes"],
      operationId: "getSandboxLogs",
      summary: "Get a sandbox's console",
      description: "The last lines that the box itself wrote, for finding out why it did not start.",
      params: sandboxParams,
      querystring: logsQuerySchema,
      response: { 200: z.array(z.string()).describe("The lines, oldest first"), ...errors },
    },
    handler: async (request, reply) =>
      reply.send([...(await operations.logs(request.params.id, request.query.lines ?? DEFAULT_LINES, request.scope.bound))]),
  });

  app.route({
    method: "GET",
    url: "/sandboxes/:id/stats",
    config: { access: "api" },
    schema: {
      tags: ["Sandboxes"],
      operationId: "getSandboxStats",
      summary: "Get a sandbox's figures",
      params: sandboxParams,
      response: { 200: statsSchema.describe("The figures"), ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params } = request;
      const stats = await operations.withGuest(params.id, "stats", (guest) => guest.stats(scope.bound), scope.bound);
      return reply.send({
        uptime_ms: stats.uptimeMs,
        processes: stats.processes,
        sessions: stats.sessions,
        memory_bytes: stats.memoryBytes,
        cpu_ms: stats.cpuMs,
        disk_total: stats.diskTotal,
        disk_free: stats.diskFree,
      });
    },
  });

  app.route({
    method: "GET",
    url: "/providers",
    config: { access: "api" },
    schema: {
      tags: ["System"],
      operationId: "listProviders",
      summary: "List providers",
      description: "What each can really do here, from a probe; what does not work says why and how to mend it.",
      response: { 200: z.strictObject({ items: z.array(providerReportSchema) }).meta({ id: "ProviderList" }), ...errors },
    },
    handler: async (_request, reply) => reply.send({ items: await providers() }),
  });

  app.route({
    method: "GET",
    url: "/providers/:name",
    config: { access: "api" },
    schema: {
      tags: ["System"],
      operationId: "getProvider",
      summary: "Get a provider",
      params: z.strictObject({
        name: z
          .string()
          .min(1)
          .meta({ description: "Name of the provider", examples: ["oci"] }),
      }),
      response: { 200: providerReportSchema.describe("The provider"), ...errors },
    },
    handler: async (request, reply) => {
      const found = (await providers()).find((report) => report.name === request.params.name);
      if (found === undefined)
        throw new CaissonError("provider_not_found", `There is no provider ${request.params.name.slice(0, 64)} here.`);
      return reply.send(found);
    },
  });

  app.route({
    method: "GET",
    url: "/workers",
    config: { access: "api" },
    schema: {
      tags: ["System"],
      operationId: "listWorkers",
      summary: "List workers",
      response: { 200: z.strictObject({ items: z.array(workerSchema) }).meta({ id: "WorkerList" }), ...errors },
    },
    handler: async (_request, reply) => {
      const workers = await describeWorkers();
      return reply.send({
        items: workers.map((worker) => ({
          id: worker.workerId,
          version: worker.version,
          preview_domain: worker.previewDomain,
          providers: [...worker.providers],
        })),
      });
    },
  });

  /** Each provider once: as the first worker on which it works describes it. */
  async function providers(): Promise<ProviderReport[]> {
    const byName = new Map<string, ProviderReport>();
    for (const worker of await describeWorkers())
      for (const report of worker.providers) {
        const known = byName.get(report.name);
        if (known === undefined || (!known.available && report.available)) byName.set(report.name, report);
      }
    return [...byName.values()];
  }
}
