import { CaissonError, MAX_SIGNED_MS, parseDuration, signedUrlSchema, signFileSchema } from "@caisson/contract";
import type { App } from "../http/app.ts";
import { isoTime } from "../http/iso-time.ts";
import { ownAddress } from "../http/own-address.ts";
import type { Services } from "../server-options.ts";
import { errors, sandboxParams } from "./route-schema.ts";

/** How long a URL opens its file where the request does not say, in ms: 15 minutes. */
const DEFAULT_MS = 900_000;

/** URLs that do for a key, for one file. */
export function signRoutes(app: App, { operations, tokens, clock }: Services): void {
  app.route({
    method: "POST",
    url: "/sandboxes/:id/files/sign",
    config: { access: "api" },
    schema: {
      tags: ["Files"],
      operationId: "signFile",
      summary: "Make a URL that opens one file",
      description:
        "For whoever has no key: a browser, a link, another service. It opens exactly that path for that action until its time; nothing can be added to its query. It cannot be taken back before its time, other than by destroying the sandbox.",
      params: sandboxParams,
      body: signFileSchema,
      response: { 200: signedUrlSchema.describe("The URL"), ...errors },
    },
    handler: async (request, reply) => {
      const { scope, params, body } = request;
      const ttl = body.ttl === undefined ? DEFAULT_MS : (parseDuration(body.ttl) ?? DEFAULT_MS);
      if (ttl > MAX_SIGNED_MS || ttl < 1_000) {
        const message = "must be from 1s to 168h";
        throw new CaissonError("invalid_request", `The body was refused: ttl ${message}.`, { errors: [{ path: "ttl", message }] });
      }
      // Tokens keep whole seconds, rounded down.
      const expiresAt = Math.floor((clock.now() + ttl) / 1_000) * 1_000;
      const grant = {
        action: body.action === "read" ? "file.read" : "file.write",
        sandboxId: params.id,
        expiresAt,
        path: body.path,
        ...(body.user === undefined ? {} : { user: body.user }),
      } as const;
      // Through the one door, so that a sandbox that is gone is told as everywhere.
      const token = await operations.withGuest(params.id, "file.sign", () => tokens.sign(grant), { ...scope.bound, detail: body.path });
      const query = new URLSearchParams({ path: body.path, token });
      const url = `${ownAddress(request)}/api/v1/sandboxes/${params.id}/files?${query.toString()}`;
      return reply.send({ url, expires_at: isoTime(expiresAt) });
    },
  });
}
