import { CaissonError, toCaissonError, type Clock, type Image, type ImageHost, type WorkerImage } from "@caisson/contract";
import type { Store } from "@caisson/store";
import type { Hosts } from "./hosts.ts";
import type { Logger } from "./logger.ts";
import { withDeadline } from "./with-deadline.ts";

/** Time a worker has to list its images, in ms. */
const LIST_DEADLINE_MS = 15_000;

/** Which worker; absent: the only one that can be asked now. */
export interface ImageOptions {
  readonly workerId?: string;
  readonly signal?: AbortSignal;
}

/** Images of workers. `worker_unavailable` for one that cannot be asked now. */
export interface ImageOperations {
  /** Of one worker, or of all that can be asked now, by worker. */
  list(options?: ImageOptions): Promise<readonly WorkerImage[]>;
  /** Fetches an OCI reference; a no-op when it is there, unless forced. */
  pull(reference: string, options?: ImageOptions & { readonly force?: true }): Promise<WorkerImage>;
  /** Stores a root file system from a tar stream under a name. */
  importArchive(name: string, archive: AsyncIterable<Uint8Array>, options?: ImageOptions): Promise<WorkerImage>;
  remove(name: string, options?: ImageOptions): Promise<void>;
}

/** What images of workers need. */
export interface WorkerImagesOptions {
  readonly hosts: Hosts;
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Images of the workers that can be asked from here. Changes are events: an image is on the worker's disk before its event is
 * written, so a crash between the two keeps the image and loses the event.
 */
export class WorkerImages implements ImageOperations {
  readonly #options: WorkerImagesOptions;

  constructor(options: WorkerImagesOptions) {
    this.#options = options;
  }

  async list({ workerId, signal }: ImageOptions = {}): Promise<readonly WorkerImage[]> {
    const ids = workerId === undefined ? this.#options.hosts.ids().toSorted() : [workerId];
    const found = await Promise.all(ids.map((id) => this.#listOne(id, signal)));
    return found.flat();
  }

  async pull(reference: string, options: ImageOptions & { readonly force?: true } = {}): Promise<WorkerImage> {
    const { signal, force } = options;
    const [workerId, images] = this.#only(options);
    const before = await this.#listOne(workerId, signal);
    const pulled = await images.pull(reference, { ...(force === undefined ? {} : { force }), ...(signal === undefined ? {} : { signal }) });
    // What was there already was not pulled.
    if (!before.some((one) => one.name === pulled.name && one.digest === pulled.digest)) await this.#tell("image.pulled", workerId, pulled);
    return { ...pulled, worker_id: workerId };
  }

  async importArchive(name: string, archive: AsyncIterable<Uint8Array>, options: ImageOptions = {}): Promise<WorkerImage> {
    const [workerId, images] = this.#only(options);
    const imported = await images.importArchive(name, archive, options.signal);
    await this.#tell("image.imported", workerId, imported);
    return { ...imported, worker_id: workerId };
  }

  async remove(name: string, options: ImageOptions = {}): Promise<void> {
    const [workerId, images] = this.#only(options);
    await images.remove(name, options.signal);
    await this.#tell("image.removed", workerId, { name });
  }

  async #listOne(workerId: string, signal: AbortSignal | undefined): Promise<readonly WorkerImage[]> {
    const images = this.#of(workerId);
    const deadline = { clock: this.#options.clock, ms: LIST_DEADLINE_MS, what: `the images of the worker ${workerId}` };
    const found = await withDeadline({ ...deadline, ...(signal === undefined ? {} : { signal }) }, (inner) => images.list(inner));
    return found.map((image) => ({ ...image, worker_id: workerId }));
  }

  /** The worker that is named, or the only one there is. */
  #only({ workerId }: ImageOptions): readonly [workerId: string, images: ImageHost] {
    if (workerId !== undefined) return [workerId, this.#of(workerId)];
    const [only, ...others] = this.#options.hosts.ids().toSorted();
    if (only === undefined) throw new CaissonError("worker_unavailable", "No worker can be reached.", { retryAfter: 10 });
    if (others.length === 0) return [only, this.#of(only)];
    const message = "must be named, as there are several workers";
    throw new CaissonError("invalid_request", `worker_id ${message}: ${[only, ...others].slice(0, 10).join(", ")}.`, {
      errors: [{ path: "worker_id", message }],
    });
  }

  #of(workerId: string): ImageHost {
    const host = this.#options.hosts.get(workerId);
    if (host !== undefined) return host.images;
    throw new CaissonError("worker_unavailable", `The worker ${workerId} cannot be reached, or there is none of this name.`, {
      detail: { worker_id: workerId },
      retryAfter: 10,
    });
  }

  /** What was done is done, whether or not this can be written. */
  async #tell(
    type: "image.pulled" | "image.imported" | "image.removed",
    workerId: string,
    image: Partial<Image> & Pick<Image, "name">,
  ): Promise<void> {
    const { store, logger } = this.#options;
    const content = image.digest === undefined ? {} : { digest: image.digest, size_bytes: image.size_bytes };
    try {
      await store.events.add({ type, resourceId: image.name, sandboxId: null, data: { worker_id: workerId, ...content } });
    } catch (error) {
      logger.warn({ image: image.name, worker_id: workerId, outcome: toCaissonError(error).code, err: error }, "an event was not written");
    }
  }
}
