import { toCaissonError, type Image, type ImageHost } from "@caisson/contract";
import type { Store } from "@caisson/store";
import type { Logger } from "./logger.ts";

/** What recorded images need. */
export interface RecordedImagesOptions {
  readonly images: ImageHost;
  readonly store: Store;
  readonly logger: Logger;
}

/**
 * Images of a worker whose changes through the API are events. An image is on the worker's disk before its event is written:
 * a crash between the two keeps the image and loses the event.
 */
export class RecordedImages implements ImageHost {
  readonly #options: RecordedImagesOptions;

  constructor(options: RecordedImagesOptions) {
    this.#options = options;
  }

  list(signal?: AbortSignal): Promise<readonly Image[]> {
    return this.#options.images.list(signal);
  }

  async pull(reference: string, options: Parameters<ImageHost["pull"]>[1]): Promise<Image> {
    const before = await this.list(options.signal);
    const pulled = await this.#options.images.pull(reference, options);
    // What was here already was not pulled.
    if (!before.some((one) => one.name === pulled.name && one.digest === pulled.digest)) await this.#tell("image.pulled", pulled);
    return pulled;
  }

  async importArchive(name: string, archive: AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<Image> {
    const imported = await this.#options.images.importArchive(name, archive, signal);
    await this.#tell("image.imported", imported);
    return imported;
  }

  async remove(name: string, signal?: AbortSignal): Promise<void> {
    await this.#options.images.remove(name, signal);
    await this.#tell("image.removed", { name });
  }

  /** What was done is done, whether or not this can be written. */
  async #tell(type: "image.pulled" | "image.imported" | "image.removed", image: Partial<Image> & Pick<Image, "name">): Promise<void> {
    const { store, logger } = this.#options;
    const data = image.digest === undefined ? {} : { digest: image.digest, size_bytes: image.size_bytes };
    try {
      await store.events.add({ type, resourceId: image.name, sandboxId: null, data });
    } catch (error) {
      logger.warn({ image: image.name, outcome: toCaissonError(error).code, err: error }, "an event was not written");
    }
  }
}
