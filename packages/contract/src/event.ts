import { z } from "zod";
import { sandboxIdSchema } from "./sandbox.ts";

/** Kinds of things that events tell of. */
export const RESOURCE_TYPES = ["sandbox", "process", "image", "port", "webhook", "worker", "installation"] as const;
export type ResourceType = (typeof RESOURCE_TYPES)[number];

/** Kinds of events: what it is about, and what happened to it. */
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
  "sandbox.placed",
  "process.started",
  "process.exited",
  "image.pulled",
  "image.imported",
  "image.removed",
  "port.published",
  "port.unpublished",
  "webhook.created",
  "webhook.updated",
  "webhook.deleted",
  "worker.added",
  "worker.online",
  "worker.draining",
  "worker.unreachable",
  "worker.removed",
  "worker.revoked",
  "worker.refused",
  "installation.keys_rotated",
] as const satisfies readonly `${ResourceType}.${string}`[];
export type EventType = (typeof EVENT_TYPES)[number];

/** A change of a resource, in order. */
export const eventSchema = z
  .strictObject({
    seq: z.int().meta({ description: "Position; only grows" }),
    type: z.enum(EVENT_TYPES).meta({ id: "EventType" }),
    resource_type: z.enum(RESOURCE_TYPES).meta({ description: "What changed" }),
    resource_id: z.string().meta({ description: "Its id; of a process the id in its sandbox, of an image the name" }),
    sandbox_id: z.string().nullable().meta({ description: "The sandbox it is, or is in; null for what is in none" }),
    at: z.iso.datetime(),
    data: z.record(z.string(), z.unknown()),
  })
  .meta({ id: "Event" });
export type Event = z.infer<typeof eventSchema>;

/** What an event of this type is about. */
export function resourceTypeOf(type: EventType): ResourceType {
  return type.slice(0, type.indexOf(".")) as ResourceType;
}

/**
 * The types that patterns name: types, prefixes such as `sandbox.*`, or `*`. Undefined when one of them names nothing.
 * No pattern at all names every type.
 */
export function eventTypesOf(patterns: readonly string[]): ReadonlySet<EventType> | undefined {
  if (patterns.length === 0) return new Set(EVENT_TYPES);
  const named = new Set<EventType>();
  for (const pattern of patterns) {
    const found = EVENT_TYPES.filter(
      (type) => pattern === type || (/^(?:[a-z]+\.)?\*$/.test(pattern) && type.startsWith(pattern.slice(0, -1))),
    );
    if (found.length === 0) return undefined;
    for (const type of found) named.add(type);
  }
  return named;
}

const UNKNOWN_TYPE = `names no type of event; take a type such as process.exited, a prefix such as sandbox.*, or *`;

/** A type of event, a prefix such as `sandbox.*`, or `*`. */
export const eventPatternSchema = z
  .string()
  .max(64)
  .refine((pattern) => eventTypesOf([pattern]) !== undefined, { error: UNKNOWN_TYPE })
  .meta({ description: "A type of event, a prefix such as `sandbox.*`, or `*`", examples: ["process.exited", "sandbox.*"] });

/** Which events are wanted. */
const eventFilterFields = {
  sandbox_id: sandboxIdSchema.optional().meta({ description: "Only those of this sandbox and of what is in it" }),
  type: z
    .string()
    .max(512)
    .refine((text) => eventTypesOf(text.split(",")) !== undefined, { error: UNKNOWN_TYPE })
    .optional()
    .meta({ description: "Only these types, comma separated; `sandbox.*` is all of a kind", examples: ["sandbox.*,process.exited"] }),
};

const seqSchema = z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

/** Query of `GET /events`. */
export const listEventsQuerySchema = z
  .strictObject({
    after: seqSchema.optional().meta({ description: "The first ones after this `seq`. Default 0" }),
    before: seqSchema.optional().meta({ description: "Instead of `after`: the last ones before this `seq`" }),
    limit: z.coerce.number().int().min(1).max(1000).optional().meta({ description: "Most events, default 100" }),
    ...eventFilterFields,
  })
  .refine((query) => query.after === undefined || query.before === undefined, { path: ["before"], error: "cannot be combined with after" });
export type ListEventsQuery = z.infer<typeof listEventsQuerySchema>;

/** Query of `GET /events/stream`. */
export const followEventsQuerySchema = z.strictObject({
  after: seqSchema.optional().meta({ description: "Begin after this `seq`. Default: with what happens from now on" }),
  ...eventFilterFields,
});
export type FollowEventsQuery = z.infer<typeof followEventsQuerySchema>;

/** What a stream of events tells of events that are no longer kept. */
export const eventGapSchema = z
  .strictObject({
    from: z.int().meta({ description: "`seq` of the first that is missing" }),
    to: z.int().meta({ description: "`seq` of the first that is there" }),
  })
  .meta({ id: "EventGap" });
export type EventGap = z.infer<typeof eventGapSchema>;
