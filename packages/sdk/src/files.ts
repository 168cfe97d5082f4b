import type { Replaced, SignedAction, SignedUrl, Unpacked, WrittenFile, WrittenFiles } from "@caisson/contract";
import { CaissonApiError } from "./api-error.ts";
import { FileEntries } from "./file-entries.ts";
import { gather, openDownload, type Download } from "./file-download.ts";
import { callOf, type FileOptions, type ReadOptions, type WriteOptions } from "./file-options.ts";
import { replaceInFiles, searchFiles, type SearchMatch, type SearchOptions, type SearchSummary } from "./file-search.ts";
import { watchFiles, type WatchItem, type WatchOptions } from "./file-watch.ts";
import type { Content, HttpClient } from "./http-client.ts";
import { uploadFile, type UploadOptions } from "./resumable-upload.ts";
import { createSha256, reprDigest, sha256Of } from "./sha256.ts";

/** Files of one sandbox: `sandbox.files`. Paths are absolute. */
export class Files extends FileEntries {
  readonly #http: HttpClient;
  readonly #sandbox: string;
  readonly #path: string;

  /** Made by `Sandbox`. */
  constructor(http: HttpClient, sandboxId: string) {
    super(http, sandboxId);
    this.#http = http;
    this.#sandbox = `/sandboxes/${encodeURIComponent(sandboxId)}`;
    this.#path = `${this.#sandbox}/files`;
  }

  /**
   * The bytes of a file, or a part of them. With `verify` they are compared with its SHA-256.
   *
   * ```ts
   * await sandbox.files.write("/tmp/plot.png", new Uint8Array([1, 2, 3]));
   * const png = await sandbox.files.read("/tmp/plot.png", { verify: true });
   * const tail = await sandbox.files.read("/tmp/plot.png", { offset: 1 });
   * ```
   */
  async read(path: string, options: ReadOptions = {}): Promise<Uint8Array> {
    return gather(await this.readStream(path, options));
  }

  /**
   * The text of a UTF-8 file.
   *
   * ```ts
   * const name = await sandbox.files.readText("/etc/hostname");
   * ```
   */
  async readText(path: string, options: ReadOptions = {}): Promise<string> {
    return new TextDecoder().decode(await this.read(path, options));
  }

  /**
   * A file of any size as a stream. A file that changes meanwhile breaks it off, unless an `offset` is named.
   *
   * ```ts
   * let total = 0;
   * for await (const chunk of await sandbox.files.readStream("/etc/passwd")) total += chunk.length;
   * ```
   */
  async readStream(path: string, options: ReadOptions = {}): Promise<ReadableStream<Uint8Array>> {
    return (await this.download(path, options)).body;
  }

  /**
   * A file as a stream, with its size and mode.
   *
   * ```ts
   * const { body, size, mode } = await sandbox.files.download("/etc/passwd", { verify: true });
   * await body.cancel();
   * ```
   */
  async download(path: string, options: ReadOptions = {}): Promise<Download> {
    return openDownload(this.#http, this.#path, path, options);
  }

  /**
   * The SHA-256 of a file, read by the sandbox itself, with its size and version.
   *
   * ```ts
   * const { sha256, size } = await sandbox.files.digest("/etc/passwd");
   * ```
   */
  async digest(
    path: string,
    options: FileOptions = {},
  ): Promise<{ readonly sha256: string; readonly size: number; readonly version: string }> {
    const { headers } = await this.#http.stream({
      signal: options.signal,
      timeoutMs: options.timeoutMs ?? 0,
      method: "HEAD",
      path: this.#path,
      query: { path, user: options.user },
      headers: { "want-repr-digest": "sha-256=1" },
    });
    const sha256 = sha256Of(headers.get("repr-digest"));
    if (sha256 === undefined) throw new CaissonApiError("protocol_error", "The server did not tell the digest of the file.");
    return { sha256, size: Number(headers.get("content-length") ?? 0), version: headers.get("etag")?.slice(1, -1) ?? "" };
  }

  /**
   * Writes a file, whole or not at all; missing folders are made. Text and bytes are sent with their SHA-256, so that
   * nothing else takes their place. For what is large or comes over a bad line, see `upload`.
   *
   * ```ts
   * const { version } = await sandbox.files.write("/home/user/main.py", "print(6 * 7)");
   * await sandbox.files.write("/home/user/main.py", "print(42)", { ifVersion: version });
   * ```
   */
  async write(path: string, content: Content, options: WriteOptions = {}): Promise<WrittenFile> {
    const { mode, user, offset, ifVersion, ifAbsent } = options;
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
    const sha256 = options.sha256 ?? (bytes instanceof Uint8Array && offset === undefined ? digestOf(bytes) : undefined);
    return this.#http.json({
      signal: options.signal,
      // A stream takes as long as its source does.
      timeoutMs: options.timeoutMs ?? (bytes instanceof Uint8Array ? undefined : 0),
      method: "PUT",
      path: this.#path,
      query: { path, mode, user, offset },
      content: bytes,
      headers: {
        ...(sha256 === undefined ? {} : { "repr-digest": reprDigest(sha256) }),
        ...(ifVersion === undefined ? {} : { "if-match": `"${ifVersion}"` }),
        ...(ifAbsent === true ? { "if-none-match": "*" } : {}),
      },
    });
  }

  /**
   * Writes several files in one request, one after the other, each whole or not at all.
   *
   * ```ts
   * await sandbox.files.writeMany({ "/tmp/a.txt": "a", "/tmp/b.bin": new Uint8Array([1, 2]) });
   * ```
   */
  async writeMany(
    files: Readonly<Record<string, string | Uint8Array | Blob>>,
    options: FileOptions & { readonly mode?: string | undefined } = {},
  ): Promise<readonly WrittenFile[]> {
    const form = new FormData();
    for (const [path, content] of Object.entries(files)) {
      form.append("path", path);
      form.append("file", content instanceof Blob ? content : new Blob([content as Uint8Array<ArrayBuffer> | string]), "file");
    }
    const { user, mode } = options;
    const query = { user, mode };
    return (await this.#http.json<WrittenFiles>({ ...callOf(options), method: "POST", path: `${this.#path}/upload`, query, form })).items;
  }

  /**
   * Uploads content of any size. Broken connections and restarts of the server are survived: it goes on where it stood.
   * The file appears whole, and with the SHA-256 of what was sent, or not at all.
   *
   * ```ts
   * await sandbox.files.upload("/home/user/model.bin", new Blob(["much"]), {
   *   onProgress: ({ sent, size }) => console.log(sent, size),
   * });
   * ```
   */
  async upload(path: string, content: Content | Blob, options: UploadOptions = {}): Promise<WrittenFile> {
    return uploadFile(this.#http, this.#sandbox, path, content, options);
  }

  /**
   * A folder as a tar stream, names relative to it; or one file.
   *
   * ```ts
   * await sandbox.files.write("/home/user/work/src/a.txt", "a");
   * const tar = await sandbox.files.archive("/home/user/work", { exclude: ["node_modules"] });
   * await sandbox.files.extract("/home/user/copy", tar);
   * ```
   */
  async archive(
    path: string,
    options: FileOptions & { readonly exclude?: readonly string[] | undefined } = {},
  ): Promise<ReadableStream<Uint8Array>> {
    const query = { path, user: options.user, exclude: options.exclude };
    return (await this.#http.stream({ ...callOf(options), method: "GET", path: `${this.#path}/archive`, query })).body;
  }

  /**
   * Unpacks a tar stream into a folder. A new folder appears whole or not at all; in one that is there each file does.
   *
   * ```ts
   * await sandbox.files.mkdir("/home/user/work");
   * const { entries } = await sandbox.files.extract("/home/user/copy2", await sandbox.files.archive("/home/user/work"));
   * ```
   */
  async extract(
    path: string,
    content: Content,
    options: FileOptions & { readonly mode?: string | undefined; readonly keepOwners?: boolean | undefined } = {},
  ): Promise<Unpacked> {
    return this.#http.json({
      signal: options.signal,
      timeoutMs: options.timeoutMs ?? 0,
      method: "PUT",
      path: `${this.#path}/archive`,
      query: { path, user: options.user, mode: options.mode, keep_owners: options.keepOwners },
      content,
      contentType: "application/x-tar",
    });
  }

  /**
   * Searches in the contents of files, line by line, and yields matches as they are found. The generator's value is the summary.
   *
   * ```ts
   * await sandbox.files.write("/home/user/work/main.py", "import os\n");
   * for await (const { path, line, text } of sandbox.files.search("/home/user/work", "^import (\\w+)")) console.log(path, line, text);
   * ```
   */
  search(
    path: string,
    pattern: string,
    options: SearchOptions & { readonly limit?: number | undefined } = {},
  ): AsyncGenerator<SearchMatch, SearchSummary, void> {
    return searchFiles(this.#http, this.#path, { path, pattern }, options);
  }

  /**
   * Replaces in the contents of files; each is rewritten whole or not at all. `$1` is the first group of the pattern,
   * `$$` a dollar; with `fixed: true` the replacement is plain text, too.
   *
   * ```ts
   * await sandbox.files.write("/home/user/work/main.py", "x = 1\n");
   * const { count } = await sandbox.files.replace("/home/user/work", "x = (\\d)", "y = $1", { include: ["*.py"] });
   * ```
   */
  async replace(
    path: string,
    pattern: string,
    replacement: string,
    options: SearchOptions & { readonly dryRun?: boolean | undefined } = {},
  ): Promise<Replaced> {
    return replaceInFiles(this.#http, this.#path, { path, pattern, replacement }, options);
  }

  /**
   * Changes of a folder as they happen, each once and in order, over broken connections and restarts of the server. Leaving
   * the loop closes the watch.
   *
   * ```ts
   * for await (const item of sandbox.files.watch("/tmp", { recursive: true })) {
   *   if (item.type === "ready") await sandbox.files.write("/tmp/new.txt", "x");
   *   if (item.type === "change") break;
   * }
   * ```
   */
  watch(path: string, options: WatchOptions = {}): AsyncGenerator<WatchItem, void, void> {
    return watchFiles(this.#http, this.#path, path, options);
  }

  /**
   * A URL that opens one file to whoever has it, for reading (GET) or writing (PUT), until its time.
   *
   * ```ts
   * await sandbox.files.write("/tmp/report.txt", "all is well");
   * const { url } = await sandbox.files.sign("/tmp/report.txt", "read", { ttl: "5m" });
   * const text = await (await fetch(url)).text();
   * ```
   */
  async sign(path: string, action: SignedAction, options: FileOptions & { readonly ttl?: string | undefined } = {}): Promise<SignedUrl> {
    const json = { path, action, ttl: options.ttl, user: options.user };
    return this.#http.json({ ...callOf(options), method: "POST", path: `${this.#path}/sign`, json });
  }
}

function digestOf(bytes: Uint8Array): string {
  const hash = createSha256();
  hash.update(bytes);
  return hash.hex();
}
