import { z } from "zod";
import { eventPatternSchema } from "./event.ts";
import { cursorSchema } from "./field.ts";
import { sandboxIdSchema } from "./sandbox.ts";

/** Where messages go: the address of somebody who takes POST requests. */
const webhookUrlSchema = z
  .string()
  .max(2048)
  .refine((text) => isWebhookUrl(text), { error: "must be an http or https address without a user name, password or fragment" })
  .meta({ description: "Where messages go, as POST requests", examples: ["https://example.org/hooks/caisson"] });

function isWebhookUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, username, password, hash } = new URL(text);
  return (protocol === "http:" || protocol === "https:") && username === "" && password === "" && hash === "";
}

const eventsSchema = z
  .array(eventPatternSchema)
  .max(64)
  .meta({ description: "Types wanted, or prefixes such as `sandbox.*`; empty for all", examples: [["sandbox.*", "process.exited"]] });

/** Body of `POST /webhooks`. */
export const createWebhookSchema = z
  .strictObject({
    url: webhookUrlSchema,
    events: eventsSchema.optional(),
    sandbox_id: sandboxIdSchema.optional().meta({ description: "Only events of this sandbox and of what is in it" }),
    active: z.boolean().optional().meta({ description: "Default true" }),
  })
  .meta({ id: "CreateWebhook" });
export type CreateWebhook = z.infer<typeof createWebhookSchema>;

/** Body of `PATCH /webhooks/{webhook_id}`. */
export const updateWebhookSchema = z
  .strictObject({
    url: webhookUrlSchema.optional(),
    events: eventsSchema.optional(),
    sandbox_id: sandboxIdSchema.nullable().optional(),
    active: z.boolean().optional().meta({ description: "While false nothing is sent, and what happens is not kept for later" }),
  })
  .meta({ id: "UpdateWebhook" });
export type UpdateWebhook = z.infer<typeof updateWebhookSchema>;

const webhookFields = {
  id: z.string(),
  url: z.string(),
  events: z.array(z.string()),
  sandbox_id: z.string().nullable(),
  active: z.boolean(),
  created_at: z.iso.datetime(),
  updated_at: z.iso.datetime(),
};

/** Somebody who is told of events. */
export const webhookSchema = z.strictObject(webhookFields).meta({ id: "Webhook" });
export type Webhook = z.infer<typeof webhookSchema>;

/** A webhook with its secret, which is shown this once. */
export const webhookWithSecretSchema = z
  .strictObject({ ...webhookFields, secret: z.string().meta({ description: "Signs the messages; shown only now. `whsec_` and base64" }) })
  .meta({ id: "WebhookWithSecret" });
export type WebhookWithSecret = z.infer<typeof webhookWithSecretSchema>;

export const webhookListSchema = z.strictObject({ items: z.array(webhookSchema) }).meta({ id: "WebhookList" });

/** Where a message stands. */
export const DELIVERY_STATUSES = ["pending", "delivered", "failed"] as const;

/** One message to a webhook. */
export const webhookDeliverySchema = z
  .strictObject({
    id: z.string().meta({ description: "Also the message's `webhook-id`: the same each time it is sent" }),
    webhook_id: z.string(),
    type: z.string().meta({ description: "Type of the event, `webhook.test`, or `gap` for events that were no longer kept" }),
    seq: z.int().nullable().meta({ description: "`seq` of the event" }),
    status: z.enum(DELIVERY_STATUSES),
    attempts: z.int(),
    created_at: z.iso.datetime(),
    last_attempt_at: z.iso.datetime().nullable(),
    next_attempt_at: z.iso.datetime().nullable().meta({ description: "Not before the messages ahead of it; null when it is finished" }),
    response_code: z.int().nullable().meta({ description: "HTTP status of the last answer; null when none came" }),
    response_body: z.string().nullable().meta({ description: "The first 1 KiB of it" }),
    error: z.string().nullable().meta({ description: "Why no answer came" }),
    duration_ms: z.number().nullable().meta({ description: "Time of the last attempt" }),
  })
  .meta({ id: "WebhookDelivery" });
export type WebhookDelivery = z.infer<typeof webhookDeliverySchema>;

/** Query of `GET /webhooks/{webhook_id}/deliveries`. */
export const listDeliveriesQuerySchema = z.strictObject({
  status: z.enum(DELIVERY_STATUSES).optional(),
  limit: z.coerce.number().int().min(1).max(1000).optional().meta({ description: "Page size, default 100" }),
  cursor: cursorSchema.optional(),
});
export type ListDeliveriesQuery = z.infer<typeof listDeliveriesQuerySchema>;

export const deliveryPageSchema = z
  .strictObject({ items: z.array(webhookDeliverySchema), next_cursor: z.string().nullable() })
  .meta({ id: "WebhookDeliveryPage" });
export type DeliveryPage = z.infer<typeof deliveryPageSchema>;
