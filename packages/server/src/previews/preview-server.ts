import { ServerResponse, type IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { CaissonError, isCaissonError } from "@caisson/contract";
import type { Guest } from "@caisson/guest";
import { askForBody } from "../http/ask-for-body.ts";
import { forwardRequest, type ForwardedRequest } from "../http/forward-request.ts";
import { shuttingDown, type LiveRequests } from "../http/live-requests.ts";
import { toWireError } from "../http/problem.ts";
import { requestIdOf } from "../http/request-id.ts";
import { RequestScope } from "../http/request-scope.ts";
import type { Upgrade } from "../http/upgrade.ts";
import { isForwarded } from "../siblings/forwarded-header.ts";
import type { PreviewServices } from "./preview-services.ts";
import { dialPort } from "../ports/dial-port.ts";
import { previewAccess, type PreviewAccess } from "./preview-access.ts";
import { previewCookie } from "./preview-cookie.ts";
import { answerLines, requestLines } from "./preview-headers.ts";
import { sendPreviewError } from "./preview-page.ts";
import { isPreview, previewTarget, type PreviewTarget } from "./preview-target.ts";

/** How long the rest of a body is read after an answer that did not wait for it, in ms. */
const LINGER_MS = 5_000;

/**
 * Shows the ports of sandboxes over HTTP. It stands beside the API, not in it: which of the two gets a request is decided
 * before either looks at it, so no route of the API answers on the host of a preview, and no preview on another.
 */
export class PreviewServer {
  readonly #services: PreviewServices;
  readonly #live: LiveRequests;

  constructor(services: PreviewServices, live: LiveRequests) {
    this.#services = services;
    this.#live = live;
  }

  /** Whether a request is for a preview. */
  takes(message: IncomingMessage): boolean {
    return isPreview(message, this.#services.previews.domain);
  }

  /** Answers a request. */
  serve(message: IncomingMessage, response: ServerResponse): void {
    void this.#serve(message, response, undefined);
  }

  /** Answers a request to switch protocols. */
  upgrade(message: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on("error", () => socket.destroy());
    const response = new ServerResponse(message);
    response.shouldKeepAlive = false;
    response.assignSocket(socket as never);
    response.once("finish", () => socket.end(() => socket.destroy()));
    void this.#serve(message, response, { socket, head });
  }

  async #serve(message: IncomingMessage, response: ServerResponse, upgrade: Upgrade | undefined): Promise<void> {
    const { clock, random, previews, logger } = this.#services;
    const scope = new RequestScope(requestIdOf(message, random), clock);
    const carrier = upgrade?.socket ?? response;
    this.#live.add(scope, "long");
    const switched = (): boolean => upgrade !== undefined && response.socket === null;
    carrier.once("close", () => {
      // After a switch the end of one connection is told to the other, and what is under way still arrives.
      if (!response.writableFinished && !switched()) scope.clientGone();
    });
    scope.signal.addEventListener("abort", () => message.socket.destroy(), { once: true });
    let target: PreviewTarget | undefined;
    let access: PreviewAccess | undefined;
    try {
      if (this.#live.closing) throw shuttingDown();
      target = previewTarget(message, previews.domain);
      access = await previewAccess(this.#services, target, message.headers);
      if (upgrade !== undefined && message.headers.upgrade?.toLowerCase() !== "websocket")
        throw new CaissonError("invalid_request", "A preview can switch to WebSocket, to no other protocol.");
      if (!this.#redirect(target, access, message, response)) {
        const switching = upgrade === undefined ? {} : { upgrade: () => leaveHttp(response, upgrade) };
        const { sandboxId } = target;
        if ((await this.#services.siblings?.take({ message, response, scope, sandboxId, of: "preview", ...switching })) !== true)
          await this.#forward(scope, message, response, target, access, switching);
      }
    } catch (thrown) {
      const wire = toWireError(scope.signal.aborted ? scope.signal.reason : thrown);
      scope.failure = wire.error;
      if (wire.error.code === "internal") logger.error({ err: wire.error.cause ?? wire.error, request_id: scope.id }, "preview failed");
      if (response.headersSent || response.destroyed || carrier.destroyed || switched()) message.socket.destroy();
      else sendPreviewError(message, response, wire, { target, requestId: scope.id });
    }
    this.#endUnreadBody(message);
    if (!carrier.destroyed && !response.writableFinished) await new Promise((resolve) => carrier.once("close", resolve));
    this.#live.delete(scope);
    this.#log(scope, message, switched() ? 101 : response.headersSent ? response.statusCode : 499, target, access);
  }

  async #forward(
    scope: RequestScope,
    message: IncomingMessage,
    response: ServerResponse,
    target: PreviewTarget,
    access: PreviewAccess,
    switching: Pick<ForwardedRequest, "upgrade">,
  ): Promise<void> {
    const { operations, clock, limits } = this.#services;
    const client = message.socket.remoteAddress ?? "unknown";
    if (isForwarded(message)) askForBody(message, response);
    const headers = requestLines(message, target, { client, scheme: this.#scheme, ownAuthorization: access.ownAuthorization });
    const work = async (guest: Guest): Promise<void> => {
      const connection = await dialPort(guest, target.port, { signal: scope.signal, deadlineMs: limits.portConnectMs });
      scope.signal.addEventListener("abort", () => connection.destroy(), { once: true });
      await forwardRequest({
        message,
        response,
        connection,
        path: target.path,
        headers,
        answerLines: (answer) => answerLines(answer, target),
        ...switching,
        server: { name: "The server at that port", code: "upstream_failed" },
        headDeadlineMs: limits.previewHeadMs,
        clock,
      });
    };
    await operations.withGuest(target.sandboxId, "port.preview", work, scope.bound);
  }

  /** Turns the token in a browser's address into a cookie, so that it neither stays there nor is sent on; and ends bare paths with a slash. */
  #redirect(target: PreviewTarget, access: PreviewAccess, message: IncomingMessage, response: ServerResponse): boolean {
    const { headers, method } = message;
    const reads = method === "GET" || method === "HEAD";
    const navigates = headers["sec-fetch-mode"] === "navigate" || (headers.accept?.includes("text/html") ?? false);
    const plain = { "cache-control": "no-store", "referrer-policy": "no-referrer", "content-length": 0 };
    if (access.grant !== undefined && target.token !== undefined && reads && navigates) {
      const seconds = Math.max(0, Math.floor((access.grant.expiresAt - this.#services.clock.now()) / 1000));
      const cookie = previewCookie(target, target.token, seconds, this.#scheme === "https");
      response.writeHead(303, { location: locationOf(target), "set-cookie": cookie, ...plain });
    } else if (!target.path.startsWith("/")) response.writeHead(308, { location: locationOf(target), ...plain });
    else return false;
    response.end();
    return true;
  }

  /** How browsers reach previews. */
  get #scheme(): "http" | "https" {
    const { url, scheme = "http" } = this.#services.previews;
    return url === undefined ? scheme : url.startsWith("https:") ? "https" : "http";
  }

  /** The connection of a client that goes on sending what nobody reads is broken after a while. */
  #endUnreadBody(message: IncomingMessage): void {
    if (message.complete || message.destroyed) return;
    message.resume();
    const timer = this.#services.clock.schedule(LINGER_MS, () => message.socket.destroy());
    message.once("end", () => timer.cancel());
    message.once("close", () => timer.cancel());
  }

  #log(
    scope: RequestScope,
    message: IncomingMessage,
    status: number,
    target: PreviewTarget | undefined,
    access: PreviewAccess | undefined,
  ): void {
    const { clock, logger } = this.#services;
    const line = {
      request_id: scope.id,
      method: message.method,
      path: message.url?.split("?", 1)[0]?.slice(0, 512),
      status,
      duration_ms: Math.round((clock.monotonic() - scope.startedAt) * 1000) / 1000,
      remote: message.socket.remoteAddress ?? null,
      ...(target === undefined ? {} : { sandbox_id: target.sandboxId, port: target.port }),
      ...(access === undefined ? {} : { access: access.by }),
      ...(scope.forwardedTo === undefined ? {} : { forwarded_to: scope.forwardedTo }),
      ...(scope.failure === undefined ? {} : { error: scope.failure.code, message: scope.failure.message }),
    };
    if (isCaissonError(scope.failure, "unauthorized")) logger.warn(line, "preview refused");
    else logger.info(line, "preview");
  }
}

/** Takes the connection of a request over from HTTP. */
function leaveHttp(response: ServerResponse, upgrade: Upgrade): Upgrade {
  response.detachSocket(upgrade.socket as never);
  return upgrade;
}

/** A clean address on the same host: a second slash at its start would name another, and browsers take `\` for one. */
function locationOf({ base, path }: PreviewTarget): string {
  return base + path.replace(/^[/\\]*/, "/");
}
