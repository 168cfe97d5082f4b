import { join } from "node:path";
import { readIfThere, writeAtomic } from "../durable/atomic-file.ts";
import { indexSchema, type NamedImage } from "./image-record.ts";

/** The names of images, in one small file that is replaced as a whole. Writes come one after another from the image store. */
export class ImageIndex {
  readonly #path: string;
  #names = new Map<string, NamedImage>();

  constructor(dir: string) {
    this.#path = join(dir, "index.json");
  }

  /** Reads the file; throws when it is damaged, so that nothing is removed by mistake. */
  async load(): Promise<void> {
    const text = await readIfThere(this.#path);
    const images = text === undefined ? [] : indexSchema.parse(JSON.parse(text)).images;
    this.#names = new Map(images.map((image) => [image.name, image]));
  }

  get(name: string): NamedImage | undefined {
    return this.#names.get(name);
  }

  /** Sorted by name. */
  list(): readonly NamedImage[] {
    return [...this.#names.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Names of one content. */
  namesOf(digest: string): readonly NamedImage[] {
    return this.list().filter((image) => image.digest === digest);
  }

  /** Adds or replaces names, durably. */
  async put(...images: readonly NamedImage[]): Promise<void> {
    const next = new Map(this.#names);
    for (const image of images) next.set(image.name, image);
    await this.#replace(next);
  }

  /** Removes a name, durably. */
  async delete(name: string): Promise<void> {
    const next = new Map(this.#names);
    if (next.delete(name)) await this.#replace(next);
  }

  async #replace(next: Map<string, NamedImage>): Promise<void> {
    await writeAtomic(this.#path, JSON.stringify({ version: 1, images: [...next.values()] }));
    this.#names = next;
  }
}
