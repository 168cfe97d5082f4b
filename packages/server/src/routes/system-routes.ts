import { CaissonError, providerReportSchema, type ProviderReport, type WorkerPage } from "@caisson/contract";
import type { OperationOptions } from "@caisson/control";
import { z } from "zod";
import type { App } from "../http/app.ts";
import type { Services } from "../server-options.ts";
import { errors } from "./route-schema.ts";

/** Workers asked for at a time. */
const PAGE = 200;

/** What there is to run sandboxes. */
export function systemRoutes(app: App, { workers }: Services): void {
  app.route({
    method: "GET",
    url: "/providers",
    config: { access: "api" },
    schema: {
      tags: ["System"],
      operationId: "listProviders",
      summary: "List providers",
      description:
        "What each can really do, as the workers that are online found by trying; what works nowhere says why and how to mend it. `GET /workers` tells it for each worker.",
      response: { 200: z.strictObject({ items: z.array(providerReportSchema) }).meta({ id: "ProviderList" }), ...errors },
    },
    handler: async (request, reply) => reply.send({ items: await providers(request.scope.bound) }),
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
      const found = (await providers(request.scope.bound)).find((report) => report.name === request.params.name);
      if (found === undefined)
        throw new CaissonError("provider_not_found", `There is no provider ${request.params.name.slice(0, 64)} here.`);
      return reply.send(found);
    },
  });

  /** Each provider once, as the first worker on which it works told of it. Workers that are not heard of now do not count. */
  async function providers(options: OperationOptions): Promise<ProviderReport[]> {
    const byName = new Map<string, ProviderReport>();
    let cursor: string | null = null;
    do {
      const query = { state: "online,draining", limit: PAGE, ...(cursor === null ? {} : { cursor }) };
      const page: WorkerPage = await workers.list(query, options);
      for (const report of page.items.flatMap((worker) => worker.providers)) {
        const known = byName.get(report.name);
        if (known === undefined || (!known.available && report.available)) byName.set(report.name, report);
      }
      cursor = page.next_cursor;
    } while (cursor !== null);
    return [...byName.values()];
  }
}
