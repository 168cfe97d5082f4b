import type { Access } from "@caisson/contract";
import type { HttpClient, HttpRequest } from "./http-client.ts";

/** Life of the tokens that are asked for: the end counts from the request, by a clock that nobody sets. */
const TTL = "5m";
const TTL_MS = 300_000;
/** Age from which a token is renewed while it still opens, in ms. */
const RENEW_MS = 210_000;
/** What a token must still have for a call to begin with it, in ms. */
const SPARE_MS = 10_000;
/** How long a worker that could not be reached is left alone, in ms. */
const LOST_MS = 30_000;
/** How long it is taken for granted that a worker cannot be reached directly at all, in ms. */
const NONE_MS = 60_000;
/** Time for access to be given, and for a worker to show that it is there, in ms. */
const ACCESS_MS = 10_000;
const PROBE_MS = 3_000;
/** How long a worker that answered counts as there for calls that cannot be sent twice, in ms. */
const HEARD_MS = 10_000;
/** Workers that are remembered. */
const MOST = 1_024;

/** Paths of what is done inside a sandbox, which its worker serves. */
const DATA = /^\/sandboxes\/[^/]+\/(?:exec$|(?:processes|code|uploads|logs|stats)(?:\/|$)|files(?!\/sign$)(?:\/|$))/;

/** Where a call goes, and what opens it. */
export interface Direct {
  /** Address of the worker. */
  readonly url: string;
  readonly token: string;
}

/** Which workers cannot be reached directly now, by their ids; shared by all sandboxes of a client. */
export class UnreachableWorkers {
  readonly #until = new Map<string, number>();

  has(workerId: string): boolean {
    return (this.#until.get(workerId) ?? 0) > performance.now();
  }

  add(workerId: string, ms: number): void {
    this.#until.delete(workerId);
    const [oldest] = this.#until.keys();
    if (this.#until.size >= MOST && oldest !== undefined) this.#until.delete(oldest);
    this.#until.set(workerId, performance.now() + ms);
  }
}

/** What a route needs. */
export interface DirectRouteOptions {
  /** The control plane. */
  readonly http: HttpClient;
  readonly fetch: typeof fetch;
  readonly sandboxId: string;
  readonly workerId: string;
  readonly unreachable: UnreachableWorkers;
}

/**
 * The way to the worker of one sandbox: a token that is renewed before its end, and the memory of whether the worker can be
 * reached. Whoever cannot take it goes through the control plane.
 */
export class DirectRoute {
  readonly #options: DirectRouteOptions;
  #held: (Direct & { readonly since: number }) | undefined;
  #renewal: Promise<void> | undefined;
  #heard = -Infinity;

  constructor(options: DirectRouteOptions) {
    this.#options = options;
  }

  /** The way for a request; undefined when it goes through the control plane. */
  async for(request: HttpRequest, certain: boolean): Promise<Direct | undefined> {
    if (!DATA.test(request.path)) return undefined;
    const direct = await this.open(request.signal);
    // What cannot be sent again must not be sent into the void.
    if (direct === undefined || certain || performance.now() - this.#heard < HEARD_MS) return direct;
    if (await this.#probe(direct.url)) return direct;
    this.lost();
    return undefined;
  }

  /** The way for a connection; undefined when there is none now. */
  async open(signal: AbortSignal | undefined): Promise<Direct | undefined> {
    const { unreachable, workerId } = this.#options;
    if (unreachable.has(workerId)) return undefined;
    const age = performance.now() - (this.#held?.since ?? -Infinity);
    if (age > RENEW_MS) {
      this.#renewal ??= this.#renew().finally(() => {
        this.#renewal = undefined;
      });
      if (age > TTL_MS - SPARE_MS) await settled(this.#renewal, signal);
    }
    return unreachable.has(workerId) ? undefined : this.#held;
  }

  /** The worker answered. */
  heard(): void {
    this.#heard = performance.now();
  }

  /** The worker could not be reached, or broke off: for a while nobody tries. */
  lost(): void {
    this.#heard = -Infinity;
    this.#options.unreachable.add(this.#options.workerId, LOST_MS);
  }

  /** The worker does not take the token: the next call asks for another. */
  refused(): void {
    this.#held = undefined;
  }

  /** Gets a new token. Never rejects: what is wrong with the sandbox shows when it is asked for something. */
  async #renew(): Promise<void> {
    const { http, sandboxId, workerId, unreachable } = this.#options;
    const since = performance.now();
    let access: Access;
    try {
      const path = `/sandboxes/${encodeURIComponent(sandboxId)}/access`;
      access = await http.json<Access>({ method: "POST", path, json: { ttl: TTL }, timeoutMs: ACCESS_MS });
    } catch {
      // An old token may still open; without one, the control plane is asked for everything, and for this again a while later.
      if (performance.now() - (this.#held?.since ?? -Infinity) > TTL_MS - SPARE_MS) unreachable.add(workerId, LOST_MS);
      return;
    }
    if (access.url === null) return unreachable.add(workerId, NONE_MS);
    const url = access.url.replace(/\/+$/, "");
    if (url !== this.#held?.url && !(await this.#probe(url))) return unreachable.add(workerId, LOST_MS);
    this.#held = { url, token: access.token, since };
  }

  /** Whether a worker answers at an address. No key and no token goes there for that. */
  async #probe(url: string): Promise<boolean> {
    try {
      const response = await this.#options.fetch(`${url}/api/v1/live`, { signal: AbortSignal.timeout(PROBE_MS), redirect: "error" });
      const { status } = (await response.json()) as { status?: unknown };
      if (!response.ok || status !== "alive") return false;
      this.heard();
      return true;
    } catch {
      return false;
    }
  }
}

/** Waits for work that goes on without the one who waits; rejects with the signal's reason when that comes first. */
async function settled(work: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted();
  const left = Promise.withResolvers<never>();
  const abort = (): void => left.reject(signal?.reason);
  signal?.addEventListener("abort", abort, { once: true });
  try {
    await Promise.race([work, left.promise]);
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}
