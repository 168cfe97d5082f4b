import type { ProviderReport } from "@caisson/contract";
import type { CallOptions } from "./call-options.ts";
import type { HttpClient } from "./http-client.ts";

/** Providers of the server: `client.providers`. */
export class Providers {
  readonly #http: HttpClient;

  /** Made by `Caisson`. */
  constructor(http: HttpClient) {
    this.#http = http;
  }

  /**
   * All providers: what each can do on its machine, and why not.
   *
   * ```ts
   * for (const { name, available } of await client.providers.list()) console.log(name, available);
   * ```
   */
  async list(options: CallOptions = {}): Promise<readonly ProviderReport[]> {
    return (await this.#http.json<{ items: ProviderReport[] }>({ ...options, method: "GET", path: "/providers" })).items;
  }

  /**
   * One provider; throws `provider_not_found`.
   *
   * ```ts
   * const { capabilities } = await client.providers.get(sandbox.info.provider);
   * ```
   */
  async get(name: string, options: CallOptions = {}): Promise<ProviderReport> {
    return this.#http.json({ ...options, method: "GET", path: `/providers/${encodeURIComponent(name)}` });
  }
}
