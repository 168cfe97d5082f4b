import type { WorkerImage } from "@caisson/contract";
import type { CallOptions } from "./call-options.ts";
import type { Content, HttpClient } from "./http-client.ts";

/** Options of calls about images. */
export interface ImageOptions extends CallOptions {
  /** The worker. @default for a list all that can be reached; else the only one, and it is needed when there are several */
  readonly workerId?: string | undefined;
}

/** Images of the workers: `client.images`. */
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
  async list(options: ImageOptions = {}): Promise<readonly WorkerImage[]> {
    const { signal, timeoutMs, workerId: worker_id } = options;
    const query = { worker_id };
    return (await this.#http.json<{ items: WorkerImage[] }>({ signal, timeoutMs, method: "GET", path: "/images", query })).items;
  }

  /**
   * Fetches an OCI reference and waits until it is there; nothing to do when it is, unless `force` asks the registry again.
   *
   * ```ts no-run
   * await client.images.pull("debian:12");
   * await using sandbox = await Sandbox.create({ image: "debian:12" }, { client });
   * ```
   */
  async pull(reference: string, options: ImageOptions & { readonly force?: boolean } = {}): Promise<WorkerImage> {
    const { signal, timeoutMs = 0, force, workerId: worker_id } = options;
    const json = { reference, force, worker_id };
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
  async import(name: string, archive: Content, options: ImageOptions = {}): Promise<WorkerImage> {
    const { signal, timeoutMs = 0, workerId: worker_id } = options;
    return this.#http.json({
      signal,
      timeoutMs,
      method: "POST",
      path: "/images/import",
      query: { name, worker_id },
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
  async remove(name: string, options: ImageOptions = {}): Promise<void> {
    const { signal, timeoutMs, workerId: worker_id } = options;
    await this.#http.json({ signal, timeoutMs, method: "DELETE", path: `/images/${encodeURIComponent(name)}`, query: { worker_id } });
  }
}
