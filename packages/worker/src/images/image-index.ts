import { dirname, join } from "node:path";
import { readIfThere, removeUnfinished, writeAtomic } from "../durable/atomic-file.ts";
import { indexSchema, type NamedImage } from "./image-record.ts";

/** The names of images, in one small file that is replaced as a whole. Writes come one after another from the image store. */
export class ImageIndex {
  readonly #path: string;
  #names = new Map<string, NamedImage>();
  #unwritten = false;

  constructor(dir: string) {
    this.#path = join(dir, "index.json");
  }

  /** Reads the file; throws when it is damaged, so that nothing is removed by mistake. */
  async load(): Promise<void> {
    await removeUnfinished(dirname(this.#path));
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

  /** Notes when a content was last used; written with the next change or `flush`. */
  touch(digest: string, atMs: number): void {
    for (const image of this.namesOf(digest)) {
      this.#names.set(image.name, { ...image, last_used_at_ms: atMs });
      this.#unwritten = true;
    }
  }

  /** Writes what `touch` noted. */
  async flush(): Promise<void> {
    if (this.#unwritten) await this.#replace(new Map(this.#names));
  }

  async #replace(next: Map<string, NamedImage>): Promise<void> {
    await writeAtomic(this.#path, JSON.stringify({ version: 1, images: [...next.values()] }));
    const touched = this.#names;
    this.#names = next;
    this.#unwritten = false;
    for (const [name, image] of next) {
      // Used while the file was being written.
      const later = touched.get(name)?.last_used_at_ms ?? null;
      if (later === null || image.digest !== touched.get(name)?.digest || later <= (image.last_used_at_ms ?? 0)) continue;
      next.set(name, { ...image, last_used_at_ms: later });
      this.#unwritten = true;
    }
  }
}
