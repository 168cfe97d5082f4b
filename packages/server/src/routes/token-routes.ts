import { CaissonError, createTokenSchema, formatDuration, MAX_TOKEN_TTL_MS, parseDuration, tokenSchema } from "@caisson/contract";
import type { App } from "../http/app.ts";
import { isoTime } from "../http/iso-time.ts";
import type { Services } from "../server-options.ts";
import { errors, sandboxParams } from "./route-schema.ts";

/** How long a token opens what it opens, in ms, unless asked otherwise. */
const DEFAULT_TTL_MS = 300_000;

/** Tokens for places where no key should be. */
export function tokenRoutes(app: App, { operations, tokens, clock }: Services): void {
  app.route({
    method: "POST",
    url: "/sandboxes/:id/tokens",
    config: { access: "api", linkless: true },
    schema: {
      tags: ["Sandboxes"],
      operationId: "createToken",
      summary: "Make a token",
      description:
        "For browsers and others that cannot send a header or should not have a key: `?token=` then does for one in `GET …/exec/ws`, and where the sandbox and its processes are looked at. What was opened before its time stays open after it.",
      params: sandboxParams,
      body: createTokenSchema,
      response: { 201: tokenSchema.describe("The token"), ...errors },
    },
    handler: async (request, reply) => {
      const { body, params, scope } = request;
      const ttlMs = body.ttl === undefined ? DEFAULT_TTL_MS : (parseDuration(body.ttl) ?? 0);
      if (ttlMs > MAX_TOKEN_TTL_MS) {
        const message = `must be at most ${formatDuration(MAX_TOKEN_TTL_MS)}`;
        throw new CaissonError("invalid_request", `The body was refused: ttl ${message}.`, { errors: [{ path: "ttl", message }] });
      }
      const sandbox = await operations.get(params.id, scope.bound);
      if (sandbox.ended_at !== null) throw new CaissonError("sandbox_destroyed", `The sandbox ${sandbox.id} has ended.`);
      // Whole seconds are what a token keeps; rounding up gives at least what was asked for.
      const expiresAt = Math.ceil((clock.now() + ttlMs) / 1000) * 1000;
      const token = await tokens.sign({ action: body.action, sandboxId: sandbox.id, expiresAt });
      return reply.code(201).send({ token, action: body.action, expires_at: isoTime(expiresAt) });
    },
  });
}
