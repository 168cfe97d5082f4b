import type { ChannelOpener, Image, ImageHost } from "@caisson/contract";
import { readLists } from "./batches.ts";
import { ask, callOptions } from "./ask.ts";
import { imageReplySchema } from "./worker-replies.ts";

/** Images of a far worker. Nothing has a time limit but the caller's. */
export class RemoteImages implements ImageHost {
  readonly #opener: ChannelOpener;

  constructor(opener: ChannelOpener) {
    this.#opener = opener;
  }

  async list(signal?: AbortSignal): Promise<readonly Image[]> {
    const channel = this.#opener.open("worker.list_images", {}, { ...callOptions(signal), noInput: true });
    return (await readLists("worker.list_images", channel, ["images"])).images;
  }

  async pull(reference: string, { force, signal }: Parameters<ImageHost["pull"]>[1]): Promise<Image> {
    return (await ask(this.#opener, "worker.pull_image", { reference, force }, imageReplySchema, signal)).image;
  }

  async importArchive(name: string, archive: AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<Image> {
    return (await ask(this.#opener, "worker.import_image", { name }, imageReplySchema, signal, archive)).image;
  }

  async remove(name: string, signal?: AbortSignal): Promise<void> {
    await ask(this.#opener, "worker.remove_image", { name }, undefined, signal);
  }
}
