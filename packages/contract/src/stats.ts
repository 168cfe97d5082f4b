import { z } from "zod";
import { durationSchema } from "./field.ts";
import { parseDuration } from "./duration.ts";
import { SANDBOX_STATES } from "./sandbox-state.ts";

/** What a sandbox uses, at one moment. */
export const sandboxStatsSchema = z
  .strictObject({
    at: z.iso.datetime(),
    uptime_ms: z.int().meta({ description: "Time since it was booted" }),
    processes: z.int().meta({ description: "Processes that run in it, without those of its own machinery" }),
    sessions: z.int().meta({ description: "Processes started through the API that run" }),
    cpu: z.strictObject({
      used_ms: z.int().meta({ description: "Processor time used since it was booted" }),
      cpus: z.number().meta({ description: "Processors it may use, by its limit or its machine" }),
      percent: z
        .number()
        .nullable()
        .meta({ description: "Use since the last sample of a stream, 100 for one whole processor; null where there is no last sample" }),
    }),
    memory: z.strictObject({
      used_bytes: z.int(),
      limit_bytes: z.int().nullable().meta({ description: "Its limit; null for none of its own" }),
    }),
    disk: z.strictObject({ total_bytes: z.int(), free_bytes: z.int() }),
    network: z
      .strictObject({ rx_bytes: z.int(), rx_packets: z.int(), tx_bytes: z.int(), tx_packets: z.int() })
      .meta({ description: "Received and sent over all interfaces but loopback" }),
  })
  .meta({ id: "SandboxStats", description: "What a sandbox uses, as its agent sees it" });
export type SandboxStats = z.infer<typeof sandboxStatsSchema>;

/** Shortest and longest time between two samples, in ms. */
const SHORTEST_MS = 200;
const LONGEST_MS = 60_000;

/** Query of `GET /sandboxes/{id}/stats/stream`. */
export const followStatsQuerySchema = z.strictObject({
  interval: durationSchema
    .refine((text) => (parseDuration(text) ?? 0) >= SHORTEST_MS && (parseDuration(text) ?? 0) <= LONGEST_MS, {
      error: "must be between 200ms and 1m",
    })
    .optional()
    .meta({ description: "Time between two samples. Default 1s", examples: ["1s"] }),
});

/** Last event of the streams of a sandbox that has ended. */
export const sandboxEndSchema = z
  .strictObject({ state: z.enum(SANDBOX_STATES), reason: z.strictObject({ code: z.string(), message: z.string() }).nullable() })
  .meta({ id: "SandboxEnd", description: "How the sandbox ended" });
export type SandboxEnd = z.infer<typeof sandboxEndSchema>;
