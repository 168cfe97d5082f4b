import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { CaissonError, importImageQuerySchema, parseDuration, type Clock, type Image, type ImageHost } from "@caisson/contract";
import type { ProviderContext, RootFs } from "@caisson/providers";
import pLimit from "p-limit";
import { deadlineSignal } from "../durable/deadline.ts";
import { toStorageError } from "../durable/file-error.ts";
import { KeyedQueue } from "../durable/keyed-queue.ts";
import { removeTree } from "../durable/remove-tree.ts";
import { SharedWork } from "../durable/shared-work.ts";
import { ContentStore } from "./content-store.ts";
import { ensureHostSkeleton, type HostSkeleton } from "./host-skeleton.ts";
import { ImageIndex } from "./image-index.ts";
import { pullImage, type PullPrograms } from "./image-pull.ts";
import { NO_DEFAULTS, type Content, type NamedImage } from "./image-record.ts";
import { parseReference, type ImageReference } from "./image-reference.ts";
import { ImageUsers } from "./image-users.ts";
import { ARCHIVE_LIMITS, unpackArchive, type ArchiveLimits } from "./unpack-archive.ts";

/** The built-in image: the machine's own programs. */
export const HOST_IMAGE = "host";
/** How long a skeleton is taken to be current, in ms. */
const SKELETON_FRESH_MS = 10_000;
/** An image that no sandbox used yet is kept at least this long, in ms. */
const NEVER_USED_GRACE_MS = 3_600_000;
const IMPORT_DEADLINE_MS = 3_600_000;

/** What an image store is made with. */
export interface ImageStoreOptions {
  /** Folder of its own, made when missing. */
  readonly dir: string;
  readonly clock: Clock;
  readonly log: ProviderContext["log"];
  /** Registries (`host:port`) spoken to without TLS. Default: none. */
  readonly insecureRegistries?: readonly string[];
  /** How long an unused image is kept, in ms; 0 removes it after its last use. Default: 168 h. */
  readonly keepUnusedMs?: number;
  /** How long one pull may take, in ms. Default: 600 000. */
  readonly pullDeadlineMs?: number;
  /** Bounds of an imported archive. */
  readonly archiveLimits?: ArchiveLimits;
  /** Root of the machine that the image `host` shows. Default: `/`. */
  readonly machine?: string;
  /** Programs that pull. Default: `skopeo` and `umoci` from the PATH. */
  readonly programs?: PullPrograms;
}

/** An image ready to be booted from. */
export interface ResolvedImage {
  readonly rootfs: RootFs;
  /** Null for `host`. */
  readonly digest: string | null;
  /** What `hold` takes: a digest, or the skeleton's key. */
  readonly content: string;
  readonly defaults: { readonly user?: string; readonly workdir?: string; readonly env: Readonly<Record<string, string>> };
}

/** The images of one worker: the machine itself, imported archives, and what registries serve; each content is kept once. */
export class ImageStore implements ImageHost {
  readonly #options: ImageStoreOptions;
  readonly #contents: ContentStore;
  readonly #index: ImageIndex;
  readonly #users = new ImageUsers();
  readonly #pulls = new SharedWork<NamedImage>();
  /** Changes of names and contents happen one after another. */
  readonly #changes = new KeyedQueue();
  readonly #pullsAtOnce = pLimit(2);
  #opened: Promise<void> | undefined;
  #skeleton: { readonly at: number; readonly made: Promise<HostSkeleton> } | undefined;

  constructor(options: ImageStoreOptions) {
    this.#options = options;
    this.#contents = new ContentStore(options.dir);
    this.#index = new ImageIndex(options.dir);
  }

  /** Reads what is there and removes what a crash left unfinished. Idempotent. */
  open(): Promise<void> {
    this.#opened ??= this.#load();
    return this.#opened;
  }

  async list(): Promise<readonly Image[]> {
    await this.open();
    const host: Image = {
      name: HOST_IMAGE,
      digest: null,
      source: "builtin",
      size_bytes: 0,
      created_at: new Date(0).toISOString(),
      sandboxes: await this.#hostUsers(),
      user: "user",
      workdir: null,
    };
    return [host, ...this.#index.list().flatMap((named) => this.#describe(named) ?? [])];
  }

  /** Names of all images, without looking at what is in them. */
  async names(): Promise<readonly string[]> {
    await this.open();
    return [HOST_IMAGE, ...this.#index.list().map((image) => image.name)];
  }

  async pull(reference: string, options: { readonly force?: true; readonly signal?: AbortSignal } = {}): Promise<Image> {
    await this.open();
    const parsed = parseReference(reference);
    if (parsed === undefined)
      throw new CaissonError("invalid_request", `${JSON.stringify(reference)} is not an image reference such as debian:12.`);
    const here = options.force === undefined ? this.#index.get(parsed.text) : undefined;
    const named = here ?? (await this.#pull(parsed, options.signal));
    return this.#describe(named) ?? vanished(named.name);
  }

  async importArchive(name: string, archive: AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<Image> {
    await this.open();
    const checked = importImageQuerySchema.safeParse({ name });
    if (!checked.success || name === HOST_IMAGE || name.startsWith("sha256:"))
      throw new CaissonError("invalid_request", `${JSON.stringify(name)} cannot be the name of an imported image.`, {
        errors: [{ path: "name", message: checked.error?.issues[0]?.message ?? "is reserved" }],
      });
    const doing = `importing the image ${name}`;
    using limit = deadlineSignal({ clock: this.#options.clock, ms: IMPORT_DEADLINE_MS, doing, signal });
    const named = await this.#stage(name, "import", doing, async (staged) => {
      const limits = this.#options.archiveLimits ?? ARCHIVE_LIMITS;
      const { content, notes } = await unpackArchive(archive, join(staged, "rootfs"), limits, limit.signal);
      for (const note of notes) this.#options.log("warn", note, { image: name });
      return { version: 1, ...content, defaults: NO_DEFAULTS };
    });
    return this.#describe(named) ?? vanished(name);
  }

  async remove(name: string): Promise<void> {
    await this.open();
    if (name === HOST_IMAGE) throw new CaissonError("invalid_request", "The image host is built in and cannot be removed.");
    await this.#changes.run("change", async () => {
      const named = this.#find(name);
      if (named === undefined) throw notFound(name);
      const sandboxes = this.#users.count(named.digest);
      if (sandboxes > 0)
        throw new CaissonError("image_in_use", `${sandboxes} sandboxes use the image ${named.name}.`, { detail: { sandboxes } });
      await this.#index.delete(named.name);
      await this.#collect(named.digest);
    });
  }

  /** The image of a name, digest or reference; a reference that is not here is pulled. */
  async resolve(name: string, signal?: AbortSignal): Promise<ResolvedImage> {
    await this.open();
    if (name === HOST_IMAGE) {
      const { key, path } = await this.#hostSkeleton();
      return { rootfs: { kind: "host", skeleton: path }, digest: null, content: key, defaults: { env: {} } };
    }
    const known = this.#contents.get(this.#find(name)?.digest ?? name);
    if (known !== undefined) return this.#ready(known);
    const reference = name.startsWith("sha256:") ? undefined : parseReference(name);
    if (reference === undefined) throw notFound(name);
    const { digest } = await this.#pull(reference, signal);
    return this.#ready(this.#contents.get(digest) ?? vanished(name));
  }

  /** Resolves an image and notes that a sandbox uses it, with nothing between that could remove it. */
  async use(name: string, sandboxId: string, signal?: AbortSignal): Promise<ResolvedImage> {
    const image = await this.resolve(name, signal);
    this.hold(sandboxId, image.content);
    return image;
  }

  /** Notes that a sandbox uses a content; for records read at start-up. */
  hold(sandboxId: string, content: string): void {
    this.#users.hold(sandboxId, content);
    this.#index.touch(content, this.#options.clock.now());
  }

  /** Notes that a sandbox uses its image no more. */
  async release(sandboxId: string): Promise<void> {
    const content = this.#users.release(sandboxId);
    if (content === undefined) return;
    this.#index.touch(content, this.#options.clock.now());
    if (this.#keepUnusedMs === 0) await this.sweep();
  }

  /** Removes images that were unused for too long, contents without a name, and old skeletons. Call it now and then. */
  async sweep(): Promise<void> {
    await this.open();
    const current = await this.#hostSkeleton().then(
      ({ key }) => key,
      () => undefined,
    );
    await this.#changes.run("change", async () => {
      const now = this.#options.clock.now();
      for (const named of this.#index.list()) {
        if (this.#users.count(named.digest) > 0) continue;
        const keep = named.last_used_at_ms === null ? Math.max(this.#keepUnusedMs, NEVER_USED_GRACE_MS) : this.#keepUnusedMs;
        if (now - (named.last_used_at_ms ?? named.created_at_ms) < keep) continue;
        await this.#index.delete(named.name);
        this.#options.log("info", "removed an unused image", { image: named.name, digest: named.digest });
      }
      await this.#index.flush();
      for (const content of this.#contents.list()) await this.#collect(content.digest);
      for (const key of await readdir(this.#skeletonsDir))
        if (key !== current && this.#users.count(key) === 0) await removeTree(join(this.#skeletonsDir, key));
    });
  }

  get #keepUnusedMs(): number {
    return this.#options.keepUnusedMs ?? (parseDuration("168h") as number);
  }

  get #skeletonsDir(): string {
    return join(this.#options.dir, HOST_IMAGE);
  }

  async #load(): Promise<void> {
    await mkdir(this.#skeletonsDir, { recursive: true, mode: 0o700 });
    await this.#contents.load();
    await this.#index.load();
    for (const named of this.#index.list()) if (this.#contents.get(named.digest) === undefined) await this.#index.delete(named.name);
    // Made now, so that the first start does not wait for it. Where it cannot be made, each use says why.
    await this.#hostSkeleton().catch((error: unknown) => this.#options.log("warn", "there is no image host", { error: String(error) }));
  }

  #hostSkeleton(): Promise<HostSkeleton> {
    const now = this.#options.clock.monotonic();
    if (this.#skeleton === undefined || now - this.#skeleton.at > SKELETON_FRESH_MS) {
      const made = ensureHostSkeleton({
        dir: this.#skeletonsDir,
        staging: this.#contents.stagingDir,
        machine: this.#options.machine ?? "/",
      });
      const skeleton = { at: now, made };
      this.#skeleton = skeleton;
      made.catch(() => {
        if (this.#skeleton === skeleton) this.#skeleton = undefined;
      });
    }
    return this.#skeleton.made;
  }

  async #hostUsers(): Promise<number> {
    let users = 0;
    for (const key of await readdir(this.#skeletonsDir)) users += this.#users.count(key);
    return users;
  }

  /** By exact name, or as a reference in its normal form. */
  #find(name: string): NamedImage | undefined {
    return this.#index.get(name) ?? this.#index.get(parseReference(name)?.text ?? name);
  }

  #pull(reference: ImageReference, signal: AbortSignal | undefined): Promise<NamedImage> {
    const { clock } = this.#options;
    const doing = `pulling ${reference.text}`;
    const work = async (ending: AbortSignal): Promise<NamedImage> => {
      using limit = deadlineSignal({ clock, ms: this.#options.pullDeadlineMs ?? 600_000, doing, signal: ending });
      const insecure = this.#options.insecureRegistries?.includes(reference.registry) === true;
      const programs = this.#options.programs ?? { skopeo: "skopeo", umoci: "umoci" };
      return await this.#stage(reference.text, "registry", doing, (staged) =>
        this.#pullsAtOnce(() => pullImage({ reference, staged, clock, insecure, programs }, limit.signal)),
      );
    };
    return this.#pulls.run(reference.text, work, signal);
  }

  /** Fills a staging folder, makes it visible as a whole, and names it. */
  async #stage(name: string, source: NamedImage["source"], doing: string, fill: (staged: string) => Promise<Content>): Promise<NamedImage> {
    try {
      const staged = await this.#contents.stage();
      try {
        const content = await fill(staged);
        return await this.#changes.run("change", async () => {
          await this.#contents.add(staged, content);
          const before = this.#index.get(name);
          const now = this.#options.clock.now();
          const named: NamedImage = { name, digest: content.digest, source, created_at_ms: now, last_used_at_ms: null };
          await this.#index.put(before?.digest === content.digest ? { ...before, created_at_ms: now } : named);
          if (before !== undefined) await this.#collect(before.digest);
          return this.#index.get(name) ?? named;
        });
      } finally {
        await removeTree(staged);
      }
    } catch (error) {
      throw toStorageError(error, doing);
    }
  }

  /** Removes a content that has no name and no user. */
  async #collect(digest: string): Promise<void> {
    if (this.#index.namesOf(digest).length === 0 && this.#users.count(digest) === 0) await this.#contents.remove(digest);
  }

  #ready(content: Content): ResolvedImage {
    const { workdir, env } = content.defaults;
    // Without root there is one user only, and all files are its own: the image's wish cannot be met and need not be.
    const user = content.owner === "self" ? null : content.defaults.user;
    return {
      rootfs: { kind: "folder", path: this.#contents.rootfs(content.digest), owner: content.owner },
      digest: content.digest,
      content: content.digest,
      defaults: { env, ...(user === null ? {} : { user }), ...(workdir === null ? {} : { workdir }) },
    };
  }

  #describe(named: NamedImage): Image | undefined {
    const content = this.#contents.get(named.digest);
    if (content === undefined) return undefined;
    return {
      name: named.name,
      digest: named.digest,
      source: named.source,
      size_bytes: content.size_bytes,
      created_at: new Date(named.created_at_ms).toISOString(),
      sandboxes: this.#users.count(named.digest),
      user: content.defaults.user,
      workdir: content.defaults.workdir,
    };
  }
}

function notFound(name: string): CaissonError {
  return new CaissonError("image_not_found", `No image is called ${JSON.stringify(name)}, and it is not a reference that could be pulled.`);
}

function vanished(name: string): never {
  throw new CaissonError("image_not_found", `The image ${JSON.stringify(name)} was removed meanwhile.`);
}
