import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { createSecureContext, getCACertificates, type SecureContext } from "node:tls";
import { CaissonError, isCaissonError, type Clock } from "@caisson/contract";
import type { FarWorkers } from "@caisson/control";
import { forwardRequest } from "../http/forward-request.ts";
import { endToEnd, hasBody, lengthLines, type HeaderLines } from "../http/header-lines.ts";
import type { RequestScope } from "../http/request-scope.ts";
import type { Upgrade } from "../http/upgrade.ts";
import { dialSibling } from "./dial-sibling.ts";
import { isAlive } from "./is-alive.ts";
import { decline, FORWARDED_HEADER, isDeclined, isForwarded } from "./forwarded-header.ts";
import { toldEnd } from "./told-end.ts";
import { LOOK_EVERY_MS, watchConnection } from "./watch-connection.ts";

/** Time for a connection to another control plane, in ms. */
const CONNECT_MS = 2_000;
/** Time for it to ask for the body of a request, in ms. */
const ASK_MS = 5_000;
/** Time for it to answer whether it is alive, in ms. */
const ALIVE_MS = 5_000;
/** How long one that could not be reached is left alone, in ms. */
const REST_MS = 5_000;

/** Who answers. */
const SERVER = { name: "The control plane that has a link with the worker", code: "worker_unavailable" } as const;

/** Lines of a request that are ours to say. */
const TOLD_ANEW: ReadonlySet<string> = new Set([FORWARDED_HEADER, "x-request-id", "expect", "content-length"]);

/** What is needed to pass requests on. */
export interface SiblingsOptions {
  /** Id of this control plane. */
  readonly id: string;
  readonly farWorkers: Pick<FarWorkers, "far" | "unlinked" | "siblings">;
  /** Certificates to trust besides the machine's where another control plane speaks TLS, PEM. */
  readonly ca: readonly string[];
}

/** A request about a sandbox whose client is known and may ask it. */
export interface PassedRequest {
  readonly message: IncomingMessage;
  readonly response: ServerResponse;
  readonly scope: RequestScope;
  readonly sandboxId: string;
  /** `api`: streams are ours, and end as ours do. */
  readonly of: "api" | "preview";
  /** Takes the connection of a client that waits for a switch to WebSocket over from HTTP. */
  readonly upgrade?: () => Upgrade;
}

/** Passes requests about sandboxes, whose worker has no link here, on to a control plane that has one. */
export class Siblings {
  readonly #options: SiblingsOptions;
  readonly #clock: Clock;
  /** By worker: who took a request for it last. */
  readonly #linked = new Map<string, string>();
  /** Control planes that could not be reached, and until when they are left alone, in monotonic ms. */
  readonly #resting = new Map<string, number>();
  /** By address: what came of the last try to reach it. */
  readonly #tries = new Map<string, { readonly at: number; readonly reached: Promise<boolean> }>();
  /** Made once: to read all certificates takes milliseconds. */
  #context: SecureContext | undefined;

  constructor(options: SiblingsOptions, clock: Clock) {
    this.#options = options;
    this.#clock = clock;
  }

  /**
   * Answers a request through another control plane, if this one has no link with the worker and that one has; whether it did.
   * A request that was passed on already is taken here, or declined: then this throws `worker_unavailable`.
   */
  async take(passed: PassedRequest): Promise<boolean> {
    const { farWorkers } = this.#options;
    const { message, response, sandboxId } = passed;
    if (!isForwarded(message)) {
      const workerId = await farWorkers.far(sandboxId);
      return workerId !== undefined && (await this.#pass(workerId, passed));
    }
    const workerId = await farWorkers.unlinked(sandboxId);
    if (workerId === undefined) return false;
    decline(response);
    throw unavailable(workerId, "This control plane has no link with it.");
  }

  async #pass(workerId: string, passed: PassedRequest): Promise<boolean> {
    const { farWorkers, id: self } = this.#options;
    const { message, response, scope, upgrade } = passed;
    const last = this.#linked.get(workerId);
    const siblings = farWorkers.siblings.filter(({ id }) => (this.#resting.get(id) ?? 0) <= this.#clock.monotonic());
    for (const { id, url } of siblings.toSorted((a, b) => Number(b.id === last) - Number(a.id === last))) {
      const connection = await this.#dial(url, scope.signal);
      scope.signal.throwIfAborted();
      if (connection === undefined) {
        this.#rest(id);
        continue;
      }
      watchConnection(connection, () => this.#reachable(url), this.#clock);
      const why = (cause: unknown): CaissonError => {
        if (scope.signal.aborted) return scope.signal.reason as CaissonError;
        return isCaissonError(cause) ? cause : unavailable(workerId, `${SERVER.name} broke off the connection.`, cause);
      };
      const outcome = await forwardRequest({
        message,
        response,
        connection,
        path: message.url ?? "",
        headers: requestLines(message, self, scope.id),
        answerLines: (answer) => {
          this.#linked.set(workerId, id);
          scope.forwardedTo = id;
          return [...endToEnd(answer)].flatMap(([, line, value]) => [line, value]);
        },
        ...(passed.of === "api" ? { body: (answer: IncomingMessage) => toldEnd(answer, (cause) => (scope.failure = why(cause))) } : {}),
        ...(upgrade === undefined ? {} : { upgrade }),
        server: SERVER,
        choice: { declined: isDeclined, askMs: ASK_MS },
        clock: this.#clock,
      }).catch((error: unknown) => {
        throw why(error);
      });
      if (outcome === "answered") return true;
      scope.signal.throwIfAborted();
    }
    return false;
  }

  #dial(url: string, signal?: AbortSignal): Promise<Socket | undefined> {
    return dialSibling({
      url,
      trust: () => (this.#context ??= createSecureContext({ ca: [...getCACertificates("default"), ...this.#options.ca] })),
      connectMs: CONNECT_MS,
      clock: this.#clock,
      ...(signal === undefined ? {} : { signal }),
    });
  }

  /** Whether another control plane can be reached and answers now: tried once for all requests that want to know. */
  #reachable(url: string): Promise<boolean> {
    const now = this.#clock.monotonic();
    for (const [tried, { at }] of this.#tries) if (now - at >= LOOK_EVERY_MS) this.#tries.delete(tried);
    const known = this.#tries.get(url)?.reached;
    if (known !== undefined) return known;
    const reached = this.#dial(url).then((socket) => socket !== undefined && isAlive(socket, ALIVE_MS, this.#clock));
    this.#tries.set(url, { at: now, reached });
    return reached;
  }

  #rest(id: string): void {
    const now = this.#clock.monotonic();
    for (const [resting, until] of this.#resting) if (until <= now) this.#resting.delete(resting);
    this.#resting.set(id, now + REST_MS);
  }
}

/** The header of a request as the other control plane gets it: the client's own, its credentials included. */
function requestLines(message: IncomingMessage, self: string, requestId: string): HeaderLines {
  const lines: HeaderLines = [];
  for (const [name, line, value] of endToEnd(message)) if (!TOLD_ANEW.has(name)) lines.push(line, value);
  lines.push("X-Request-ID", requestId, FORWARDED_HEADER, self, ...lengthLines(message.headers));
  if (hasBody(message.headers)) lines.push("Expect", "100-continue");
  return lines;
}

function unavailable(workerId: string, why: string, cause?: unknown): CaissonError {
  const detail = { worker_id: workerId };
  return new CaissonError("worker_unavailable", `The worker ${workerId} cannot be reached. ${why}`, { cause, detail, retryAfter: 1 });
}
