export { createServer, type HttpServer } from "./create-server.ts";
export { DEFAULT_LIMITS, type ServerLimits, type ServerOptions } from "./server-options.ts";
export { createKeyVerifier, hashKey, type Caller, type HashedKey, type KeyVerifier, type Role } from "./auth/key-verifier.ts";
export { sendWebhook } from "./webhooks/send-webhook.ts";
export { WorkerLinks, type WorkerLinksOptions } from "./worker-links/worker-links.ts";
export { WorkerDialler, type DialTarget, type WorkerDiallerOptions } from "./worker-links/worker-dialler.ts";
