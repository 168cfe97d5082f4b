import type { HealthReport } from "@caisson/control";
import { z } from "zod";
import type { App } from "../http/app.ts";
import type { Services } from "../server-options.ts";

/** How long a readiness check may take, in ms; slower is not ready. */
const CHECK_MS = 5_000;

const liveSchema = z
  .strictObject({ status: z.literal("alive"), version: z.string(), uptime_ms: z.int() })
  .meta({ id: "Live", description: "The server answers" });

const checks = {
  store: z.boolean().meta({ description: "The database answers" }),
  workers: z
    .strictObject({
      pending: z.int().meta({ description: "Added, and not heard of yet" }),
      online: z.int().meta({ description: "Take sandboxes" }),
      draining: z.int().meta({ description: "Keep what they have and take no more" }),
      unreachable: z.int().meta({ description: "Silent" }),
    })
    .nullable()
    .meta({ id: "WorkerCounts", description: "How many workers are in each state; null while the database does not answer" }),
};
const readySchema = z
  .strictObject({ status: z.enum(["ready", "not_ready"]), version: z.string(), uptime_ms: z.int(), ...checks })
  .meta({ id: "Ready", description: "Whether the server does its work" });
const healthSchema = z
  .strictObject({ status: z.enum(["ok", "degraded"]), version: z.string(), uptime_ms: z.int(), ...checks })
  .meta({ id: "Health", description: "How the server is" });

/** Probes that need no key. They are served at the root and below the API's prefix. */
export function healthRoutes(app: App, { operations, version, clock, logger }: Services): void {
  const startedAt = clock.monotonic();
  const base = (): { version: string; uptime_ms: number } => ({ version, uptime_ms: Math.round(clock.monotonic() - startedAt) });
  const hide = app.prefix === "";

  async function check(): Promise<HealthReport> {
    const stop = new AbortController();
    const nothing: HealthReport = { store: false, workers: null };
    const late = clock.sleep(CHECK_MS, stop.signal).then(
      () => nothing,
      () => nothing,
    );
    try {
      return await Promise.race([operations.health(), late]);
    } catch (error) {
      logger.warn({ err: error }, "the health check failed");
      return nothing;
    } finally {
      stop.abort();
    }
  }

  app.route({
    method: "GET",
    url: "/live",
    config: { access: "open" },
    schema: { hide, tags: ["System"], operationId: "live", summary: "Whether the server answers", response: { 200: liveSchema } },
    handler: async (_request, reply) => reply.send({ status: "alive", ...base() }),
  });

  app.route({
    method: "GET",
    url: "/ready",
    config: { access: "open" },
    schema: {
      hide,
      tags: ["System"],
      operationId: "ready",
      summary: "Whether the server does its work",
      description:
        "503 while the database is missing. That there are workers is no condition: they come in through servers that are ready; `/health` tells when none is online.",
      response: { 200: readySchema, 503: readySchema },
    },
    handler: async (_request, reply) => {
      const found = await check();
      return reply.code(found.store ? 200 : 503).send({ status: found.store ? "ready" : "not_ready", ...base(), ...found });
    },
  });

  app.route({
    method: "GET",
    url: "/health",
    config: { access: "open" },
    schema: {
      hide,
      tags: ["System"],
      operationId: "health",
      summary: "How the server is",
      description: "Always 200 while the server answers; `status` is `degraded` while the database is missing or no worker is online.",
      response: { 200: healthSchema },
    },
    handler: async (_request, reply) => {
      const found = await check();
      return reply.send({ status: (found.workers?.online ?? 0) > 0 ? "ok" : "degraded", ...base(), ...found });
    },
  });
}
