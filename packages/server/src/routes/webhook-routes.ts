import {
  createWebhookSchema,
  deliveryPageSchema,
  listDeliveriesQuerySchema,
  updateWebhookSchema,
  webhookDeliverySchema,
  webhookListSchema,
  webhookSchema,
  webhookWithSecretSchema,
} from "@caisson/contract";
import { z } from "zod";
import type { App } from "../http/app.ts";
import type { Services } from "../server-options.ts";
import { errors } from "./route-schema.ts";

const tags = ["Webhooks"];
const idSchema = z.string().min(1).max(64);
const webhookParams = z.strictObject({
  webhook_id: idSchema.meta({ description: "Id of the webhook", examples: ["wh1hfqv8k3m00a1b2c3d4e5"] }),
});
const deliveryParams = z.strictObject({
  ...webhookParams.shape,
  delivery_id: idSchema.meta({ description: "Id of the message", examples: ["wd1hfqv8k3m00a1b2c3d4e5"] }),
});

/** Telling others of events. */
export function webhookRoutes(app: App, { operations }: Services): void {
  const { webhooks } = operations;

  app.route({
    method: "POST",
    url: "/webhooks",
    config: { access: "admin" },
    schema: {
      tags,
      operationId: "createWebhook",
      summary: "Create a webhook",
      description:
        "Messages are POST requests with `{type, timestamp, data}`, where `data` is the event, signed as the Standard Webhooks specification says: `webhook-id`, `webhook-timestamp`, `webhook-signature`. They come in order and at least once; one is sent until it is answered with 2xx within 15 s, or has failed as often as `webhooks.retries` allows. The secret is shown only in this answer.",
      body: createWebhookSchema,
      response: { 201: webhookWithSecretSchema.describe("The webhook with its secret"), ...errors },
    },
    handler: async (request, reply) => {
      const created = await webhooks.create(request.body);
      return reply.code(201).header("location", `/api/v1/webhooks/${created.id}`).send(created);
    },
  });

  app.route({
    method: "GET",
    url: "/webhooks",
    config: { access: "admin" },
    schema: {
      tags,
      operationId: "listWebhooks",
      summary: "List webhooks",
      response: { 200: webhookListSchema.describe("All of them, oldest first"), ...errors },
    },
    handler: async (_request, reply) => reply.send({ items: [...(await webhooks.list())] }),
  });

  app.route({
    method: "GET",
    url: "/webhooks/:webhook_id",
    config: { access: "admin" },
    schema: {
      tags,
      operationId: "getWebhook",
      summary: "Get a webhook",
      params: webhookParams,
      response: { 200: webhookSchema.describe("The webhook"), ...errors },
    },
    handler: async (request, reply) => reply.send(await webhooks.get(request.params.webhook_id)),
  });

  app.route({
    method: "PATCH",
    url: "/webhooks/:webhook_id",
    config: { access: "admin" },
    schema: {
      tags,
      operationId: "updateWebhook",
      summary: "Change a webhook",
      description: "What is not named stays. One that is made active again hears of what happens from then on.",
      params: webhookParams,
      body: updateWebhookSchema,
      response: { 200: webhookSchema.describe("The webhook as it is now"), ...errors },
    },
    handler: async (request, reply) => reply.send(await webhooks.update(request.params.webhook_id, request.body)),
  });

  app.route({
    method: "DELETE",
    url: "/webhooks/:webhook_id",
    config: { access: "admin" },
    schema: {
      tags,
      operationId: "deleteWebhook",
      summary: "Delete a webhook",
      description: "With its messages, sent or not.",
      params: webhookParams,
      response: { 204: z.null().describe("Done"), ...errors },
    },
    handler: async (request, reply) => {
      await webhooks.remove(request.params.webhook_id);
      return reply.code(204).send(null);
    },
  });

  app.route({
    method: "POST",
    url: "/webhooks/:webhook_id/rotate-secret",
    config: { access: "admin" },
    schema: {
      tags,
      operationId: "rotateWebhookSecret",
      summary: "Give a webhook another secret",
      description: "For a day messages carry two signatures, by the new secret and by the one before.",
      params: webhookParams,
      response: { 200: webhookWithSecretSchema.describe("The webhook with its new secret"), ...errors },
    },
    handler: async (request, reply) => reply.send(await webhooks.rotateSecret(request.params.webhook_id)),
  });

  app.route({
    method: "POST",
    url: "/webhooks/:webhook_id/test",
    config: { access: "admin" },
    schema: {
      tags,
      operationId: "testWebhook",
      summary: "Send a test message to a webhook",
      description: "Now, once, beside the queue, also while it is not active; its type is `webhook.test`. Answers with what came of it.",
      params: webhookParams,
      response: { 200: webhookDeliverySchema.describe("What came of it"), ...errors },
    },
    handler: async (request, reply) => reply.send(await webhooks.test(request.params.webhook_id, request.scope.signal)),
  });

  app.route({
    method: "GET",
    url: "/webhooks/:webhook_id/deliveries",
    config: { access: "admin" },
    schema: {
      tags,
      operationId: "listWebhookDeliveries",
      summary: "List the messages to a webhook",
      description: "Newest first: those that wait, and those that were finished not longer ago than `retention.webhook_deliveries`.",
      params: webhookParams,
      querystring: listDeliveriesQuerySchema,
      response: { 200: deliveryPageSchema.describe("One page"), ...errors },
    },
    handler: async (request, reply) => reply.send(await webhooks.deliveries(request.params.webhook_id, request.query)),
  });

  app.route({
    method: "POST",
    url: "/webhooks/:webhook_id/deliveries/:delivery_id/redeliver",
    config: { access: "admin" },
    schema: {
      tags,
      operationId: "redeliverWebhookMessage",
      summary: "Send a message to a webhook again",
      description: "With the same `webhook-id`, as soon as the messages before it are finished.",
      params: deliveryParams,
      response: { 200: webhookDeliverySchema.describe("The message, waiting again"), ...errors },
    },
    handler: async (request, reply) => reply.send(await webhooks.redeliver(request.params.webhook_id, request.params.delivery_id)),
  });
}
