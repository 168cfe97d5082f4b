import { eventGapSchema, eventSchema, followEventsQuerySchema, listEventsQuerySchema } from "@caisson/contract";
import type { EventNews } from "@caisson/control";
import { z } from "zod";
import { answerWithStream } from "../exec/stream-output.ts";
import type { App } from "../http/app.ts";
import { lastEventIdHeaders, streamEvents, type ServerSentEvent } from "../http/sse-stream.ts";
import type { Services } from "../server-options.ts";
import { content, errors } from "./route-schema.ts";

const tags = ["Events"];

/** What happened to all that there is. */
export function eventRoutes(app: App, { operations, clock }: Services): void {
  app.route({
    method: "GET",
    url: "/events",
    config: { access: "api" },
    schema: {
      tags,
      operationId: "listEvents",
      summary: "List events",
      description: "Oldest first. The next ones are those after the last `seq`.",
      querystring: listEventsQuerySchema,
      response: { 200: z.strictObject({ items: z.array(eventSchema) }).meta({ id: "EventList" }), ...errors },
    },
    handler: async (request, reply) => reply.send({ items: [...(await operations.events(request.query, request.scope.bound))] }),
  });

  app.route({
    method: "GET",
    url: "/events/stream",
    config: { access: "api", long: true },
    schema: {
      tags,
      operationId: "followEvents",
      summary: "Follow events",
      description:
        "Server-sent events, as they happen and in order: each is named by its type, its id is its `seq`, its data is the event. A client that was cut off goes on after the id that it sends as `Last-Event-ID` (or `after`), so it misses none and gets none twice. A stream that begins now says at once, by an id without an event, where that is. What is no longer kept is told as `gap`. A comment comes every 15 s; `error` is the last event of a stream that breaks, and says whether asking again makes sense.",
      querystring: followEventsQuerySchema,
      headers: lastEventIdHeaders,
      response: {
        200: content("The events, one after the other", { "text/event-stream": z.union([eventSchema, eventGapSchema]) }),
        ...errors,
      },
    },
    handler: async (request, reply) => {
      const { query, headers, scope } = request;
      const resumed = headers["last-event-id"];
      const from = resumed === undefined ? query : { ...query, after: Number(resumed) };
      const news = await operations.followEvents(from, scope.bound);
      return answerWithStream(reply, () => streamEvents(request, reply, toServerSent(news), { clock }));
    },
  });
}

async function* toServerSent(news: AsyncIterable<EventNews>): AsyncGenerator<ServerSentEvent, void, void> {
  for await (const one of news) {
    if (one.type === "event") yield { event: one.event.type, id: String(one.event.seq), data: one.event };
    else if (one.type === "gap") yield { event: "gap", id: String(one.gap.to - 1), data: one.gap };
    else yield { id: String(one.seq) };
  }
}
