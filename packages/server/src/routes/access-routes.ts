import {
  accessSchema,
  CaissonError,
  createAccessSchema,
  DATA_SCOPES,
  DEFAULT_ACCESS_MS,
  MAX_ACCESS_MS,
  parseDuration,
} from "@caisson/contract";
import type { App } from "../http/app.ts";
import { isoTime } from "../http/iso-time.ts";
import type { Services } from "../server-options.ts";
import { errors, sandboxParams } from "./route-schema.ts";

/** The way to the worker of a sandbox itself. */
export function accessRoutes(app: App, { operations, tokens }: Services): void {
  app.route({
    method: "POST",
    url: "/sandboxes/:id/access",
    config: { access: "api", linkless: true },
    schema: {
      tags: ["Sandboxes"],
      operationId: "createAccess",
      summary: "Get a way to the sandbox's worker",
      description:
        "For data at the speed of the machine that has it: where the worker has a `public_url`, what is done inside the sandbox can be asked of it, below the same paths, without a control plane in between. The token is checked there; it opens this sandbox as it is now, and nothing once that has ended or moved. The API key is never needed there.",
      params: sandboxParams,
      body: createAccessSchema,
      response: { 201: accessSchema.describe("The address and what opens it"), ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params, body } = request;
      const ttlMs = body.ttl === undefined ? DEFAULT_ACCESS_MS : (parseDuration(body.ttl) ?? 0);
      if (ttlMs > MAX_ACCESS_MS) {
        const message = "must be at most 1h";
        throw new CaissonError("invalid_request", `The body was refused: ttl ${message}.`, { errors: [{ path: "ttl", message }] });
      }
      const owner = await operations.owner(params.id, scope.bound);
      // Whole seconds are kept, and nothing outlives the sandbox.
      const expiresAt = Math.ceil(Math.min(owner.now + ttlMs, Math.max(owner.expiresAt, owner.now)) / 1000) * 1000;
      const scopes = [...DATA_SCOPES];
      const token = await tokens.signAccess({
        workerId: owner.workerId,
        sandboxId: params.id,
        epoch: owner.epoch,
        scopes,
        keyName: scope.caller?.name ?? "unknown",
        expiresAt,
      });
      return reply.code(201).send({ url: owner.publicUrl, token, expires_at: isoTime(expiresAt), scopes });
    },
  });
}
