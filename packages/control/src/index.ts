export type * from "./operations.ts";
export type { EventNews } from "./event-follower.ts";
export type { Logger } from "./logger.ts";
export { Orchestrator, type OrchestratorOptions } from "./orchestrator.ts";
export { RecordedImages } from "./recorded-images.ts";
export { SteadyClock } from "./steady-clock.ts";
export { controlDefaults, retentionOf, webhookRetriesOf, type ControlDefaults } from "./control-defaults.ts";
export type { WebhookOperations } from "./webhooks/webhooks.ts";
export type { SendWebhook, WebhookRequest } from "./webhooks/webhook-sender.ts";
