import { CaissonError, connectPortQuerySchema, portSignSchema, TCP_PROTOCOL } from "@caisson/contract";
import type { App } from "../http/app.ts";
import { converse } from "../http/converse.ts";
import { SocketPeer } from "../http/socket-peer.ts";
import { acceptWebSocket } from "../http/upgrade.ts";
import { dialPort } from "../ports/dial-port.ts";
import { PortRelay } from "../ports/port-relay.ts";
import type { DataServices } from "../server-options.ts";
import { portParams } from "./port-routes.ts";
import { content, errors } from "./route-schema.ts";

/** Connections to ports of sandboxes. */
export function portSocketRoutes(app: App, { operations, clock, limits }: DataServices): void {
  app.route({
    method: "GET",
    url: "/sandboxes/:id/ports/:port/connect",
    config: { access: "api", token: "port", upgrade: true, long: true },
    schema: {
      tags: ["Ports"],
      operationId: "connectPort",
      summary: "Connect to a port",
      description:
        "A TCP connection as a WebSocket, subprotocol `caisson.tcp.v1`. Binary messages are its bytes, both ways; text messages are `PortSocketSign`: `connected` comes first, `end` is the end of one direction. The server closes with 1000 when both directions have ended, with 1001 when it shuts down, else with 4000 + the status of the `error`, whose code is the reason.",
      params: portParams,
      querystring: connectPortQuerySchema,
      response: {
        101: content("The switch to WebSocket; these are the text messages of both sides", { "application/json": portSignSchema }),
        ...errors,
      },
    },
    handler: async (request, reply) => {
      const { scope, params, query } = request;
      const port = Number(params.port);
      if (scope.grant !== undefined && scope.grant.port !== port) throw new CaissonError("unauthorized", "The token opens another port.");
      const socket = await acceptWebSocket(request, reply, TCP_PROTOCOL);
      const peer = new SocketPeer(socket, request.raw.socket, clock, limits.webSocketPingMs);
      return converse(request, reply, peer, () =>
        operations.withGuest(
          params.id,
          "port.connect",
          async (guest) => {
            const connection = await dialPort(guest, port, { signal: scope.signal, deadlineMs: limits.portConnectMs });
            await new PortRelay(peer, connection, { window: query.window, clock, signal: scope.signal }).run();
          },
          { ...scope.bound, detail: `port ${port}` },
        ),
      );
    },
  });
}
