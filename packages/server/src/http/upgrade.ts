import { ServerResponse, type IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { CaissonError } from "@caisson/contract";
import type { FastifyReply, FastifyRequest } from "fastify";
import { WebSocketServer, type WebSocket } from "ws";
import type { PreviewServer } from "../previews/preview-server.ts";
import type { App } from "./app.ts";

/** Takes connections that become links between machines. */
export interface LinkUpgrades {
  /** Whether a request is one for a link. */
  takes(message: IncomingMessage): boolean;
  /** Takes it over; never rejects. */
  upgrade(message: IncomingMessage, socket: Duplex, head: Buffer): Promise<void>;
}

/** What an upgrade request brings: its connection, and the bytes that came right behind its head. */
export interface Upgrade {
  readonly socket: Duplex;
  readonly head: Buffer;
}

/** Largest message that is taken from a client, in bytes. */
const MAX_MESSAGE = 1_048_576;

const upgrades = new WeakMap<IncomingMessage, Upgrade>();
/** Requests whose connection has left HTTP. */
const switched = new WeakSet<IncomingMessage>();

/**
 * Sends upgrade requests through the same routes and hooks as all others: keys, errors and logs are the same for them. Only
 * routes with `upgrade: true` in their configuration take them; until the switch, errors are ordinary HTTP answers. Those
 * that are for previews or links with workers go there: these outlive every request, and end when the last one has.
 */
export function routeUpgrades(app: App, previews: PreviewServer | undefined, links: LinkUpgrades | undefined): void {
  app.server.on("upgrade", (message: IncomingMessage, socket: Duplex, head: Buffer) => {
    if (previews?.takes(message) === true) return previews.upgrade(message, socket, head);
    if (links?.takes(message) === true) return void links.upgrade(message, socket, head);
    // A peer that breaks off before or after the switch is no error of ours.
    socket.on("error", () => socket.destroy());
    upgrades.set(message, { socket, head });
    const response = new ServerResponse(message);
    response.shouldKeepAlive = false;
    response.assignSocket(socket as never);
    response.once("finish", () => socket.end());
    // HTTP tells of the end of its own connections; this one it has let go.
    socket.once("close", () => response.emit("close"));
    app.routing(message, response);
  });
}

/** The upgrade a request asks for. */
export function upgradeOf(request: FastifyRequest): Upgrade | undefined {
  return upgrades.get(request.raw);
}

/** Whether a request's connection was taken over from HTTP. */
export function hasSwitched(request: FastifyRequest): boolean {
  return switched.has(request.raw);
}

/** Takes the connection of an upgrade over from HTTP, for whoever speaks on it from now on. The reply's `close` event still comes at its end. */
export function takeUpgrade(request: FastifyRequest, reply: FastifyReply): Upgrade {
  const upgrade = upgrades.get(request.raw);
  if (upgrade === undefined) throw new Error("the request is no upgrade");
  reply.hijack();
  switched.add(request.raw);
  reply.raw.detachSocket(upgrade.socket as never);
  return upgrade;
}

/**
 * Switches to WebSocket; call it when nothing can be refused any more. Messages are at most 1 MiB. The `protocol` is agreed
 * upon when the client offers it. The socket comes paused: listen, then resume it. It leaves pings to its owner. Rejects
 * when the connection breaks before the switch.
 */
export function acceptWebSocket(request: FastifyRequest, reply: FastifyReply, protocol: string): Promise<WebSocket> {
  const { socket, head } = takeUpgrade(request, reply);
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    maxPayload: MAX_MESSAGE,
    perMessageDeflate: false,
    autoPong: false,
    handleProtocols: (offered) => (offered.has(protocol) ? protocol : false),
  });
  return new Promise((resolve, reject) => {
    socket.once("close", () => reject(new CaissonError("cancelled", "The connection broke during the handshake.")));
    server.handleUpgrade(request.raw, socket, head, (accepted) => {
      accepted.pause();
      resolve(accepted);
    });
  });
}
