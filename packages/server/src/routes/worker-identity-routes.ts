import {
  addWorkerSchema,
  CaissonError,
  isCaissonError,
  LINK_HEADERS,
  refreshWorkerSchema,
  registerWorkerSchema,
  rotatedKeysSchema,
  rotateKeysSchema,
  verifiedWorkerSchema,
  workerCredentialsSchema,
  workerInvitationSchema,
} from "@caisson/contract";
import type { PresentedCredential, WorkerIdentities } from "@caisson/control";
import { readLinkRequest } from "@caisson/worker-link";
import type { FastifyRequest } from "fastify";
import { z } from "zod";
import type { App } from "../http/app.ts";
import { RateBound } from "../http/rate-bound.ts";
import type { Services } from "../server-options.ts";
import { errors } from "./route-schema.ts";

const tags = ["Workers"];
/** Far more than a token and a signing request need, in bytes. */
const BODY_BYTES = 16_384;
/** Signatures are checked for whoever asks: one machine gets so much of it. */
const RATE = { burst: 30, perSecond: 5, peers: 10_000 };

/** How a machine becomes a worker, and stays one. */
export function workerIdentityRoutes(app: App, services: Services): void {
  const bound = new RateBound({ ...RATE, clock: services.clock });
  const identities = (): WorkerIdentities => {
    if (services.identities === undefined) throw new CaissonError("unsupported", "This server takes no workers.");
    return services.identities;
  };

  app.route({
    method: "POST",
    url: "/workers",
    config: { access: "admin" },
    schema: {
      tags,
      operationId: "addWorker",
      summary: "Invite a worker",
      description:
        "The token in the answer is shown only now. It lets one machine register, once, as the worker that `id` names or under a name of its own. `already_exists` for a worker that is registered: revoke or remove it first.",
      body: addWorkerSchema,
      response: { 201: workerInvitationSchema.describe("The invitation with its token"), ...errors },
    },
    handler: async (request, reply) => reply.code(201).send(await identities().invite(request.body)),
  });

  app.route({
    method: "POST",
    url: "/workers/rotate-keys",
    config: { access: "admin" },
    schema: {
      tags,
      operationId: "rotateKeys",
      summary: "Replace the keys that sign",
      description:
        "Of the tokens of workers, of access to sandboxes at workers, and of links: terminals, signed URLs, previews. They are replaced every 90 days without this. With `immediately` all of these are void, and the authority of workers' certificates is replaced, too; workers renew by themselves, and calls under way on them end. `state_conflict` when it was asked for too often.",
      body: rotateKeysSchema,
      response: { 200: rotatedKeysSchema.describe("The newest key"), ...errors },
    },
    handler: async (request, reply) => reply.send(await identities().rotateKeys(request.body)),
  });

  app.route({
    method: "POST",
    url: "/workers/register",
    bodyLimit: BODY_BYTES,
    config: { access: "open" },
    schema: {
      tags,
      operationId: "registerWorker",
      summary: "Register as a worker",
      description:
        "What `caisson worker join` does: the token of an invitation and a signing request of the worker's own key get its certificate and tokens. The same token and key may be sent again until the worker was seen with what it got.",
      body: registerWorkerSchema,
      response: { 200: workerCredentialsSchema.describe("What the worker holds from now on"), ...errors },
    },
    handler: async (request, reply) => {
      bound.take(request.scope.remote);
      return reply.header("cache-control", "no-store").send(await identities().register(request.body));
    },
  });

  app.route({
    method: "POST",
    url: "/workers/refresh",
    bodyLimit: BODY_BYTES,
    config: { access: "open" },
    schema: {
      tags,
      operationId: "refreshWorker",
      summary: "Get a worker's next credentials",
      description:
        "The refresh token that was sent stays good until the worker was seen with what came in the answer, so that a lost answer locks nobody out. A refresh token that was replaced is refused, and everything of its worker is revoked.",
      body: refreshWorkerSchema,
      response: { 200: workerCredentialsSchema.describe("What the worker holds from now on"), ...errors },
    },
    handler: async (request, reply) => {
      bound.take(request.scope.remote);
      return reply.header("cache-control", "no-store").send(await identities().refresh(request.body));
    },
  });

  app.route({
    method: "POST",
    url: "/workers/verify",
    bodyLimit: BODY_BYTES,
    config: { access: "open" },
    schema: {
      tags,
      operationId: "verifyWorker",
      summary: "Check a worker's credentials",
      description:
        "Says whether a link would be taken now with the same `Authorization: Bearer`, `X-Worker-ID` and `X-Worker-Proof`, and opens none. A 401 brings a nonce for a proof in `X-Link-Nonce`.",
      body: z.strictObject({}),
      response: { 200: verifiedWorkerSchema.describe("Who it is"), ...errors },
    },
    handler: async (request, reply) => {
      bound.take(request.scope.remote);
      try {
        const { workerId, credential, tenantId, scopes, issuedAt, expiresAt } = await identities().verify(presentedBy(request));
        return await reply.header("cache-control", "no-store").send({
          worker_id: workerId,
          credential,
          tenant_id: tenantId,
          scopes: [...scopes],
          issued_at: issuedAt === null ? null : new Date(issuedAt).toISOString(),
          expires_at: expiresAt === null ? null : new Date(expiresAt).toISOString(),
        });
      } catch (error) {
        if (isCaissonError(error, "unauthorized")) reply.header(LINK_HEADERS.nonce, await identities().challenge());
        throw error;
      }
    },
  });
}

/** What a request shows of a worker: the same as one for a link. */
function presentedBy(request: FastifyRequest): PresentedCredential {
  const { token, workerId, proof, certificate } = readLinkRequest(request.raw);
  if (token === undefined) throw new CaissonError("unauthorized", "A worker shows its token: Authorization: Bearer TOKEN.");
  return {
    token,
    ...(workerId === undefined ? {} : { workerId }),
    ...(proof === undefined ? {} : { proof }),
    ...(certificate === undefined ? {} : { certificate }),
  };
}
