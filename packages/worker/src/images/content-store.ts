import { randomBytes } from "node:crypto";
import { mkdir, readdir, rename, stat } from "node:fs/promises";
import { join } from "node:path";
import { isMissing } from "../durable/file-error.ts";
import { readIfThere, syncFolder, writeAtomic } from "../durable/atomic-file.ts";
import { removeTree } from "../durable/remove-tree.ts";
import { contentSchema, type Content } from "./image-record.ts";

/** Root file systems by digest: `trees/<hex>/rootfs` with `image.json` beside it. What is visible there is complete. */
export class ContentStore {
  readonly #trees: string;
  readonly #staging: string;
  readonly #contents = new Map<string, Content>();

  constructor(dir: string) {
    this.#trees = join(dir, "trees");
    this.#staging = join(dir, "staging");
  }

  /** Folder for unfinished work, on the same file system. */
  get stagingDir(): string {
    return this.#staging;
  }

  /** Makes the folders, removes what a crash left unfinished, and reads what is complete. */
  async load(): Promise<void> {
    await mkdir(this.#trees, { recursive: true, mode: 0o700 });
    await removeTree(this.#staging);
    await mkdir(this.#staging, { mode: 0o700 });
    this.#contents.clear();
    for (const name of await readdir(this.#trees)) {
      const text = await readIfThere(join(this.#trees, name, "image.json"));
      const content = text === undefined ? undefined : contentSchema.safeParse(parseJson(text)).data;
      if (content === undefined || hexOf(content.digest) !== name) await this.#discard(name);
      else this.#contents.set(content.digest, content);
    }
  }

  get(digest: string): Content | undefined {
    return this.#contents.get(digest);
  }

  list(): readonly Content[] {
    return [...this.#contents.values()];
  }

  /** Path of the root file system of a content. */
  rootfs(digest: string): string {
    return join(this.#trees, hexOf(digest), "rootfs");
  }

  /** A fresh folder for one unfinished content; it must hold `rootfs` when given to `add`. The caller removes it. */
  async stage(): Promise<string> {
    const path = join(this.#staging, randomBytes(8).toString("hex"));
    await mkdir(path, { mode: 0o700 });
    return path;
  }

  /** Makes a staged content visible under its digest, at once or not at all. One that is there already wins. */
  async add(staged: string, content: Content): Promise<void> {
    if (this.#contents.has(content.digest)) return;
    await writeAtomic(join(staged, "image.json"), JSON.stringify(content));
    const target = join(this.#trees, hexOf(content.digest));
    if (!(await isThere(target))) await rename(staged, target);
    await syncFolder(this.#trees);
    this.#contents.set(content.digest, content);
  }

  /** Removes a content; it vanishes at once, its files soon after. */
  async remove(digest: string): Promise<void> {
    if (!this.#contents.delete(digest)) return;
    await this.#discard(hexOf(digest));
  }

  async #discard(name: string): Promise<void> {
    const refuse = join(this.#staging, `removed-${randomBytes(8).toString("hex")}`);
    await rename(join(this.#trees, name), refuse);
    await removeTree(refuse);
  }
}

function hexOf(digest: string): string {
  return digest.slice("sha256:".length);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    // Damaged by a crash of the machine: the same as not there.
    return undefined;
  }
}

async function isThere(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}
