import { CaissonError, providerReportSchema, type ProviderReport } from "@caisson/contract";
import { z } from "zod";
import type { App } from "../http/app.ts";
import type { Services } from "../server-options.ts";
import { errors } from "./route-schema.ts";

const workerSchema = z
  .strictObject({ id: z.string(), version: z.string(), preview_domain: z.string().nullable(), providers: z.array(providerReportSchema) })
  .meta({ id: "WorkerDescription", description: "A worker and what its machine can do" });

/** What there is to run sandboxes. */
export function systemRoutes(app: App, { describeWorkers }: Services): void {
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
