import type { Image } from "@caisson/contract";
import type { CallOptions } from "./call-options.ts";
import type { Content, HttpClient } from "./http-client.ts";

/** Images of the server: `client.images`. */
export class Images {
  readonly #http: HttpClient;

  /** Made by `Caisson`. */
  constructor(http: HttpClient) {
    this.#http = http;
  }

  /**
   * All images.
   *
   * ```ts
   * for (const { name, size_bytes } of await client.images.list()) console.log(name, size_bytes);
   * ```
   */
  async list(options: CallOptions = {}): Promise<readonly Image[]> {
    return (await this.#http.json<{ items: Image[] }>({ ...options, method: "GET", path: "/images" })).items;
  }

  /**
   * Fetches an OCI reference and waits until it is there; nothing to do when it is, unless `force` asks the registry again.
   *
   * ```ts no-run
   * await client.images.pull("debian:12");
   * await using sandbox = await Sandbox.create({ image: "debian:12" }, { client });
   * ```
   */
  async pull(reference: string, options: CallOptions & { readonly force?: boolean } = {}): Promise<Image> {
    const { signal, timeoutMs = 0, force } = options;
    const json = { reference, ...(force === undefined ? {} : { force }) };
    return this.#http.json({ signal, timeoutMs, method: "POST", path: "/images", json, idempotent: true });
  }

  /**
   * Stores a root file system under a name, from a tar archive: plain, gzip or zstd.
   *
   * ```ts no-run
   * import { createReadStream } from "node:fs";
   *
   * const image = await client.images.import("mine", createReadStream("rootfs.tar.gz"));
   * ```
   */
  async import(name: string, archive: Content, options: CallOptions = {}): Promise<Image> {
    const { signal, timeoutMs = 0 } = options;
    return this.#http.json({
      signal,
      timeoutMs,
      method: "POST",
      path: "/images/import",
      query: { name },
      content: archive,
      contentType: "application/x-tar",
    });
  }

  /**
   * Removes an image; `image_in_use` while sandboxes use it.
   *
   * ```ts no-run
   * await client.images.remove("mine");
   * ```
   */
  async remove(name: string, options: CallOptions = {}): Promise<void> {
    await this.#http.json({ ...options, method: "DELETE", path: `/images/${encodeURIComponent(name)}` });
  }
}
