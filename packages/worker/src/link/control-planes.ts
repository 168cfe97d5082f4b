import {
  CaissonError,
  CONTROL_METHODS,
  SCOPES,
  isCaissonError,
  toCaissonError,
  type Clock,
  type Heartbeat,
  type HeartbeatReply,
  type Random,
  type Scope,
} from "@caisson/contract";
import type { IncomingCall } from "@caisson/link";
import type { ProviderContext } from "@caisson/providers";
import type { WorkerCredentialSource } from "../identity/worker-credential-source.ts";
import { ControlLink } from "./control-link.ts";
import { dialControlPlane, RefusedForGood } from "./dial-control-plane.ts";
import { isControlPlaneUrl, KnownUrls } from "./known-urls.ts";
import type { AcceptedLink } from "./link-listener.ts";
import { Wakeup } from "./wakeup.ts";

/** Rest after a failed attempt: first, longest, and longest where the credential is refused for good, in ms. */
const REST_MS = { first: 200, longest: 5_000, refused: 30_000, growth: 1.6 } as const;
/** How often an address that need not be dialled is thought of again, in ms. */
const IDLE_MS = 5_000;

/** What a control plane may do to which this worker showed itself: all that workers offer. */
const CONTROL_SCOPES: ReadonlySet<Scope> = new Set(SCOPES.filter((scope) => !(Object.values(CONTROL_METHODS) as Scope[]).includes(scope)));

/** What happens to links, for people. */
export type ControlNews =
  | { readonly kind: "up"; readonly where: string; readonly id: string }
  /** Told once for each reason. */
  | { readonly kind: "trouble"; readonly where: string; readonly error: CaissonError; readonly forGood: boolean };

export interface ControlPlanesOptions {
  readonly dataDir: string;
  /** The one to begin with. */
  readonly firstUrl: string;
  readonly heartbeatMs: number;
  readonly credentials: WorkerCredentialSource;
  readonly serve: (scopes: ReadonlySet<Scope>) => (call: IncomingCall) => void;
  readonly heartbeat: (full: boolean) => Promise<Heartbeat>;
  readonly answered: (reply: HeartbeatReply, askedAt: number) => void;
  readonly news: (news: ControlNews) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: ProviderContext["log"];
}

/** A link whose both ends have shown who they are. */
interface OpenedLink extends AcceptedLink {
  readonly role: "dialler" | "listener";
  /** Where the control plane is, for people. */
  readonly where: string;
}

/** An address that is dialled. */
interface Address {
  readonly url: string;
  /** The control plane that was last met there, or is said to be there. */
  id: string | undefined;
  readonly stop: AbortController;
  readonly done: Promise<void>;
}

/**
 * Links with every control plane: the configured one, those that any of them names, those that were known before, and those
 * that dialled this worker. To each there is one link, whatever the address it was found at.
 */
export class ControlPlanes {
  readonly #options: ControlPlanesOptions;
  readonly #known: KnownUrls;
  readonly #addresses = new Map<string, Address>();
  readonly #links = new Set<ControlLink>();
  readonly #closing = new AbortController();
  readonly #changed: Wakeup;
  /** Control planes that the last answer named, by their id. */
  #named: ReadonlyMap<string, string> = new Map();

  constructor(options: ControlPlanesOptions) {
    this.#options = options;
    this.#known = new KnownUrls(options.dataDir, options.log);
    this.#changed = new Wakeup(options.clock);
  }

  /** Begins to dial. */
  async open(): Promise<void> {
    const remembered = await this.#known.load();
    for (const url of [this.#options.firstUrl, ...remembered]) this.#dial(url, undefined);
  }

  /** Links that carry calls now. */
  get up(): readonly ControlLink[] {
    return [...this.#links].filter((link) => link.isUp);
  }

  /** Serves a connection by which a control plane dialled this worker; resolves when it has ended. */
  async accept({ stream, id, scopes, shown }: AcceptedLink): Promise<void> {
    const { credentials, log, news } = this.#options;
    const where = `control plane ${id}`;
    const reason = await this.#serve({ stream, role: "listener", id, where, scopes, shown });
    const { signal } = this.#closing;
    if (signal.aborted || credentials.renewals === undefined || !isCaissonError(reason, "unauthorized", "forbidden")) return;
    // It would come back with what this worker does not know, to be shown what is refused: so it is not waited for.
    try {
      if ((await credentials.refused(signal)) === "gone") news({ kind: "trouble", where, error: reason, forGood: true });
    } catch (error) {
      log("warn", "the worker's credentials could not be renewed", { control_plane: where, reason: toCaissonError(error).message });
    }
  }

  /** Sends a heartbeat on every link now. */
  beatNow(): void {
    for (const link of this.#links) link.beatNow();
  }

  /** Resolves when every control plane has answered a heartbeat sent from now on, or with the signal. */
  async told(signal: AbortSignal): Promise<void> {
    await Promise.all(this.up.map((link) => link.told(signal)));
  }

  /** Ends every link and dials no more. */
  async close(): Promise<void> {
    const reason = new CaissonError("shutting_down", "The worker is shutting down.");
    this.#closing.abort(reason);
    for (const address of this.#addresses.values()) address.stop.abort(reason);
    for (const link of this.#links) link.close(reason);
    await Promise.all([...this.#addresses.values()].map((address) => address.done));
    await this.#known.idle();
  }

  #dial(url: string, id: string | undefined): void {
    const known = this.#addresses.get(url);
    if (known !== undefined) {
      known.id = id ?? known.id;
      return;
    }
    if (!isControlPlaneUrl(url) || this.#closing.signal.aborted) return;
    const stop = new AbortController();
    const address: Address = { url, id, stop, done: Promise.resolve().then(() => this.#keep(address)) };
    this.#addresses.set(url, address);
  }

  /** Keeps a link with whoever is at an address, as long as it is wanted. */
  async #keep(address: Address): Promise<void> {
    const { clock, random, credentials, news } = this.#options;
    const { signal } = address.stop;
    let failures = 0;
    let told: string | undefined;
    while (!signal.aborted) {
      if (!this.#wanted(address)) {
        await this.#changed.wait(IDLE_MS, signal);
        continue;
      }
      let longest: number = REST_MS.longest;
      try {
        const shown = credentials.renewals?.count ?? 0;
        const { stream, id } = await dialControlPlane(address.url, credentials, clock, signal);
        address.id = id;
        if (this.#linked(id)) {
          // Another name of one that is met already.
          stream.destroy();
          continue;
        }
        const link = { stream, role: "dialler", id, where: address.url, scopes: CONTROL_SCOPES, shown } as const;
        const reason = await this.#serve(link, () => {
          failures = 0;
          told = undefined;
        });
        if (signal.aborted) return;
        throw reason;
      } catch (thrown) {
        if (signal.aborted) return;
        const error = toCaissonError(thrown);
        const forGood = thrown instanceof RefusedForGood;
        if (forGood) longest = REST_MS.refused;
        if (told !== error.message) news({ kind: "trouble", where: address.url, error, forGood });
        told = error.message;
        failures += 1;
      }
      // Spread, so that all workers of a control plane that comes back do not come at once.
      const rest = Math.min(REST_MS.first * REST_MS.growth ** (failures - 1), longest) * (0.5 + (random.bytes(1)[0] ?? 0) / 255 / 2);
      await clock.sleep(rest, signal).catch(() => undefined);
    }
  }

  /** Whether a link to this address would bring anything. */
  #wanted(address: Address): boolean {
    if (address.id !== undefined && this.#linked(address.id)) return false;
    if (this.#links.size === 0) return true;
    const named = [...this.#named.values()].includes(address.url);
    const missing = [...this.#named.keys()].some((id) => !this.#linked(id));
    // The configured address may be one of many names: it is another way to a control plane that is missing.
    return named || (address.url === this.#options.firstUrl && missing);
  }

  #linked(id: string): boolean {
    for (const link of this.#links) if (link.id === id) return true;
    return false;
  }

  async #serve({ stream, role, ...opened }: OpenedLink, up?: () => void): Promise<CaissonError> {
    const { credentials, heartbeatMs, serve, heartbeat, clock, log, news } = this.#options;
    const { id, where } = opened;
    const { renewals } = credentials;
    const answered = (reply: HeartbeatReply, askedAt: number): void => {
      this.#learn(id, reply);
      this.#options.answered(reply, askedAt);
    };
    const link = new ControlLink(stream, role, { ...opened, renewals, heartbeatMs, serve, heartbeat, answered, clock, log });
    this.#links.add(link);
    link.heard.then(
      () => {
        up?.();
        news({ kind: "up", where, id });
      },
      () => undefined,
    );
    try {
      return await link.run();
    } finally {
      this.#links.delete(link);
      this.#changed.wake();
    }
  }

  /** Takes over who is there, by one who is alive: others are dialled no more, unless there is a link with them. */
  #learn(from: string, reply: HeartbeatReply): void {
    const { credentials, firstUrl, log } = this.#options;
    credentials
      .learnKeys(reply.keys)
      .catch((error: unknown) => log("warn", "the keys of the control planes were not kept", { error: toCaissonError(error).message }));
    if (reply.control_planes.length === 0) return;
    const named = new Map(reply.control_planes.filter(({ url }) => isControlPlaneUrl(url)).map(({ id, url }) => [id, url]));
    this.#named = named;
    const urls = new Set(named.values());
    for (const [id, url] of named) this.#dial(url, id);
    for (const [url, address] of this.#addresses) {
      if (urls.has(url) || url === firstUrl || (address.id !== undefined && (this.#linked(address.id) || address.id === from))) continue;
      address.stop.abort();
      this.#addresses.delete(url);
    }
    this.#known
      .keep([...urls])
      .catch((error: unknown) => log("warn", "the list of control planes was not kept", { error: toCaissonError(error).message }));
    this.#changed.wake();
  }
}
