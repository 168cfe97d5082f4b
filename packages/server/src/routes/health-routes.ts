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
  workers: z.int().meta({ description: "Workers that are there" }),
};
const readySchema = z
  .strictObject({ status: z.enum(["ready", "not_ready"]), version: z.string(), uptime_ms: z.int(), ...checks })
  .meta({ id: "Ready", description: "Whether sandboxes can be made" });
const healthSchema = z
  .strictObject({ status: z.enum(["ok", "degraded"]), version: z.string(), uptime_ms: z.int(), ...checks })
  .meta({ id: "Health", description: "How the server is" });

/** Probes that need no key. They are served at the root and below the API's prefix. */
export function healthRoutes(app: App, { operations, version, clock, logger }: Services): void {
  const startedAt = clock.monotonic();
  const base = (): { version: string; uptime_ms: number } => ({ version, uptime_ms: Math.round(clock.monotonic() - startedAt) });
  const hide = app.prefix === "";

  async function check(): Promise<{ store: boolean; workers: number }> {
    const stop = new AbortController();
    const late = clock.sleep(CHECK_MS, stop.signal).then(
      () => ({ store: false, workers: 0 }),
      () => ({ store: false, workers: 0 }),
    );
    try {
      return await Promise.race([operations.health(), late]);
    } catch (error) {
      logger.warn({ err: error }, "the health check failed");
      return { store: false, workers: 0 };
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
      summary: "Whether the server can make sandboxes",
      description: "503 while the database or every worker is missing.",
      response: { 200: readySchema, 503: readySchema },
    },
    handler: async (_request, reply) => {
      const found = await check();
      const ready = found.store && found.workers > 0;
      return reply.code(ready ? 200 : 503).send({ status: ready ? "ready" : "not_ready", ...base(), ...found });
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
      description: "Always 200 while the server answers; `status` says whether something is missing.",
      response: { 200: healthSchema },
    },
    handler: async (_request, reply) => {
      const found = await check();
      return reply.send({ status: found.store && found.workers > 0 ? "ok" : "degraded", ...base(), ...found });
    },
  });
}
