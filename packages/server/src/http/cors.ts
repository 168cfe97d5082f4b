import { CaissonError } from "@caisson/contract";
import type { FastifyReply, FastifyRequest } from "fastify";

const METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
const REQUEST_HEADERS =
  "Content-Type, Authorization, X-API-Key, X-Admin-API-Key, X-Request-ID, Idempotency-Key, Last-Event-ID, " +
  "Range, If-Range, If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since, Want-Repr-Digest, Repr-Digest, Content-Digest, Upload-Offset";
const EXPOSED_HEADERS =
  "X-Request-ID, Retry-After, X-File-Mode, X-Output-Offset, X-Output-Gap, Content-Length, Content-Range, Content-Disposition, Accept-Ranges, ETag, Last-Modified, Repr-Digest, Upload-Offset, Location";

/** Seconds for which a browser may remember a preflight. */
const MAX_AGE_S = 600;

/** Checks the configured origins: each must be exactly what a browser sends, so that none is listed in vain. */
export function allowedOrigins(origins: readonly string[]): ReadonlySet<string> {
  for (const [index, origin] of origins.entries()) {
    if (URL.canParse(origin) && new URL(origin).origin === origin) continue;
    const path = `server.cors_allowed_origins.${index}`;
    const message = "must be an origin such as https://app.example.org, without a path; there is no wildcard";
    throw new CaissonError("invalid_request", `${path} ${message}.`, { errors: [{ path, message }] });
  }
  return new Set(origins);
}

/** Lets a listed origin read the answer. Answers a preflight itself and says so by returning true. */
export function applyCors(origins: ReadonlySet<string>, request: FastifyRequest, reply: FastifyReply): boolean {
  const origin = request.headers.origin;
  if (origin === undefined) return false;
  const preflight = request.method === "OPTIONS" && request.headers["access-control-request-method"] !== undefined;
  reply.header("vary", "Origin");
  if (!origins.has(origin)) {
    if (preflight) throw new CaissonError("forbidden", "Browsers may not call from this origin; see server.cors_allowed_origins.");
    return false;
  }
  reply.header("access-control-allow-origin", origin).header("access-control-expose-headers", EXPOSED_HEADERS);
  if (!preflight) return false;
  reply
    .header("access-control-allow-methods", METHODS)
    .header("access-control-allow-headers", REQUEST_HEADERS)
    .header("access-control-max-age", MAX_AGE_S);
  return true;
}
