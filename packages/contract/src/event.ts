import { z } from "zod";

/** Kinds of events. */
export const EVENT_TYPES = [
  "sandbox.created",
  "sandbox.running",
  "sandbox.unhealthy",
  "sandbox.missing",
  "sandbox.pausing",
  "sandbox.paused",
  "sandbox.resuming",
  "sandbox.error",
  "sandbox.stopped",
  "sandbox.expired",
  "sandbox.destroyed",
  "sandbox.extended",
  "sandbox.released",
] as const;
export type EventType = (typeof EVENT_TYPES)[number];

/** A change of a resource, in order. */
export const eventSchema = z
  .strictObject({
    seq: z.int().meta({ description: "Position; only grows" }),
    type: z.enum(EVENT_TYPES),
    sandbox_id: z.string(),
    at: z.iso.datetime(),
    data: z.record(z.string(), z.unknown()),
  })
  .meta({ id: "Event" });
export type Event = z.infer<typeof eventSchema>;
