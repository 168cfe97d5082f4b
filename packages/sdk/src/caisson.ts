import { Events } from "./events.ts";
import { HttpClient } from "./http-client.ts";
import { Images } from "./images.ts";
import { Providers } from "./providers.ts";
import { Webhooks } from "./webhooks.ts";
import { Workers } from "./workers.ts";

/** Where the server is, and who calls. */
export interface CaissonOptions {
  /** Address of the server. @default `CAISSON_URL`, else `http://127.0.0.1:7423` */
  readonly url?: string | undefined;
  /** API key. @default `CAISSON_API_KEY` */
  readonly apiKey?: string | undefined;
  /** Admin key, for what needs it. @default `CAISSON_ADMIN_API_KEY` */
  readonly adminApiKey?: string | undefined;
  /** A token of `sandbox.createToken` instead of a key: for the one sandbox and the one thing that it opens. */
  readonly token?: string | undefined;
  /** Sends the requests. @default the platform's own */
  readonly fetch?: typeof fetch | undefined;
  /**
   * Whether what is done inside sandboxes may go to their workers directly, with tokens for one sandbox each, where workers can
   * be reached. @default true
   */
  readonly direct?: boolean | undefined;
  /** Time to wait for an answer, in ms; 0 for ever. @default 60 000 */
  readonly timeoutMs?: number | undefined;
}

/** Address of a server that was started without further ado. */
export const DEFAULT_URL = "http://127.0.0.1:7423";

/**
 * A Caisson server, as one caller sees it.
 *
 * ```ts
 * const client = new Caisson({ url: process.env.CAISSON_URL, apiKey: process.env.CAISSON_API_KEY });
 * await using sandbox = await Sandbox.create({ image: "host" }, { client });
 * ```
 */
export class Caisson {
  /** Images that sandboxes can be made from. */
  readonly images: Images;
  /** What isolates sandboxes, and what it can do. */
  readonly providers: Providers;
  /** Machines that run sandboxes. */
  readonly workers: Workers;
  /** What happened to all that there is. */
  readonly events: Events;
  /** Telling others of events. */
  readonly webhooks: Webhooks;
  /** Sends the requests of everything made from this client. */
  readonly http: HttpClient;

  constructor(options: CaissonOptions = {}) {
    const env = environment();
    this.http = new HttpClient({
      url: (options.url ?? (env.CAISSON_URL || DEFAULT_URL)).replace(/\/+$/, "").replace(/\/api\/v1$/, ""),
      // Who brings a token wants to do with it alone.
      apiKey: options.apiKey ?? (options.token === undefined ? env.CAISSON_API_KEY || undefined : undefined),
      adminApiKey: options.adminApiKey ?? (options.token === undefined ? env.CAISSON_ADMIN_API_KEY || undefined : undefined),
      token: options.token,
      fetch: options.fetch ?? ((...args) => fetch(...args)),
      timeoutMs: options.timeoutMs ?? 60_000,
      direct: options.direct ?? true,
    });
    this.images = new Images(this.http);
    this.providers = new Providers(this.http);
    this.workers = new Workers(this.http);
    this.events = new Events(this.http);
    this.webhooks = new Webhooks(this.http);
  }

  /** Address of the server. */
  get url(): string {
    return this.http.url;
  }
}

/** Environment variables, where the platform has them. */
function environment(): Readonly<Record<string, string | undefined>> {
  return (globalThis as { process?: { env?: Record<string, string | undefined> } }).process?.env ?? {};
}
