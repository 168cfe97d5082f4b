import { CaissonError, EXEC_PROTOCOL, execAttachSchema, execControlSchema, execSignSchema, execStartSchema } from "@caisson/contract";
import { z } from "zod";
import { parseOpening } from "../exec-socket/client-message.ts";
import { Conversation } from "../exec-socket/conversation.ts";
import type { App } from "../http/app.ts";
import { converse } from "../http/converse.ts";
import { SocketPeer } from "../http/socket-peer.ts";
import { acceptWebSocket } from "../http/upgrade.ts";
import type { DataServices } from "../server-options.ts";
import { content, errors, sandboxParams, tokenQuery } from "./route-schema.ts";

/** Time for the first message, in ms. */
const OPENING_MS = 10_000;

/** What is said in text, by either side. */
const messageSchema = z.union([execStartSchema, execAttachSchema, execControlSchema, execSignSchema]);

/** Interactive processes. */
export function execSocketRoutes(app: App, services: DataServices): void {
  const { operations, clock, limits } = services;

  app.route({
    method: "GET",
    url: "/sandboxes/:id/exec/ws",
    config: { access: "api", token: "exec", upgrade: true, long: true },
    schema: {
      tags: ["Processes"],
      operationId: "execSocket",
      summary: "Run a process interactively",
      description:
        "WebSocket, subprotocol `caisson.exec.v1`. The first text message of the client is an `ExecSocketStart` or an `ExecSocketAttach`, later ones are `ExecSocketControl`; its binary messages are standard input. Text messages of the server are `ExecSocketSign`; its binary messages are output: one byte for the stream (1 stdout or terminal, 2 stderr), then the bytes, in order from the offsets that `started` tells. The server closes with 1000 after `exit`, with 1001 when it shuts down, else with 4000 + the status of the `error`, whose code is the reason. A client that goes away ends nothing; it comes back with `attach`.",
      params: sandboxParams,
      querystring: tokenQuery,
      response: {
        101: content("The switch to WebSocket; these are the text messages of both sides", { "application/json": messageSchema }),
        ...errors,
      },
    },
    handler: async (request, reply) => {
      const { scope } = request;
      const socket = await acceptWebSocket(request, reply, EXEC_PROTOCOL);
      const peer = new SocketPeer(socket, request.raw.socket, clock, limits.webSocketPingMs);
      return converse(request, reply, peer, async () => {
        const first = await peer.next(OPENING_MS);
        if (first.kind === "binary") throw new CaissonError("invalid_request", "The first message must be text: `start` or `attach`.");
        const opening = parseOpening(first.bytes);
        await operations.withGuest(
          request.params.id,
          opening.type === "start" ? "exec" : "process.attach",
          (guest) => new Conversation(peer, opening, { services, guest, log: request.log, signal: scope.signal }).run(),
          { ...scope.bound, detail: "socket" },
        );
      });
    },
  });
}
