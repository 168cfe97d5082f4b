import type { Clock } from "@caisson/contract";
import type { FastifyReply, FastifyRequest } from "fastify";
import { hasSwitched } from "./upgrade.ts";

/** Writes the one line of a request, when its last byte is out or its connection has gone. */
export function logRequest(request: FastifyRequest, reply: FastifyReply, clock: Clock): void {
  const { scope } = request;
  const path = request.raw.url?.split("?", 1)[0] ?? "";
  const line = {
    method: request.method,
    path: path.slice(0, 512),
    route: request.routeOptions.url ?? null,
    status: hasSwitched(request) ? 101 : reply.raw.headersSent ? reply.raw.statusCode : 499,
    duration_ms: Math.round((clock.monotonic() - scope.startedAt) * 1000) / 1000,
    complete: hasSwitched(request) || reply.raw.writableFinished,
    remote: scope.remote ?? null,
    ...(scope.caller === undefined ? {} : { key: scope.caller.name, role: scope.caller.role }),
    ...(scope.forwardedTo === undefined ? {} : { forwarded_to: scope.forwardedTo }),
    ...(scope.failure === undefined ? {} : { error: scope.failure.code, message: scope.failure.message }),
  };
  if (scope.failure?.code === "unauthorized" || scope.failure?.code === "forbidden") request.log.warn(line, "request refused");
  else if (reply.raw.statusCode >= 500) request.log.error(line, "request");
  else request.log.info(line, "request");
}
