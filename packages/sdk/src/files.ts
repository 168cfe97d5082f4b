import type { FileInfo, FileList } from "@caisson/contract";
import { CaissonApiError } from "./api-error.ts";
import type { CallOptions } from "./call-options.ts";
import type { Content, HttpClient, HttpRequest } from "./http-client.ts";

/** Options of file calls. */
export interface FileOptions extends CallOptions {
  /** As whom. @default the sandbox's user */
  readonly user?: string | undefined;
}

/** Files of one sandbox: `sandbox.files`. Paths are absolute. */
export class Files {
  readonly #http: HttpClient;
  readonly #path: string;

  /** Made by `Sandbox`. */
  constructor(http: HttpClient, sandboxId: string) {
    this.#http = http;
    this.#path = `/sandboxes/${encodeURIComponent(sandboxId)}/files`;
  }

  /**
   * The bytes of a file, or a part of them.
   *
   * ```ts
   * await sandbox.commands.run("head -c 1000 /dev/urandom >/home/user/noise");
   * const bytes = await sandbox.files.read("/home/user/noise", { offset: 500 });
   * ```
   */
  async read(path: string, options: FileOptions & { readonly offset?: number; readonly length?: number } = {}): Promise<Uint8Array> {
    return this.#http.bytes(this.#download(path, options));
  }

  /**
   * The text of a UTF-8 file.
   *
   * ```ts
   * const system = await sandbox.files.readText("/etc/os-release");
   * ```
   */
  async readText(path: string, options: FileOptions = {}): Promise<string> {
    return new TextDecoder().decode(await this.read(path, options));
  }

  /**
   * A file of any size as a stream.
   *
   * ```ts
   * await sandbox.commands.run("seq 1000000 >/tmp/big.log");
   * let total = 0;
   * for await (const chunk of await sandbox.files.readStream("/tmp/big.log")) total += chunk.length;
   * ```
   */
  async readStream(
    path: string,
    options: FileOptions & { readonly offset?: number; readonly length?: number } = {},
  ): Promise<ReadableStream<Uint8Array>> {
    return (await this.#http.stream(this.#download(path, options))).body;
  }

  /**
   * Writes a file of any size, whole or not at all; missing folders are made. With `offset` it writes in place instead.
   *
   * ```ts
   * await sandbox.files.write("/home/user/main.py", "print(6 * 7)");
   * ```
   */
  async write(
    path: string,
    content: Content,
    options: FileOptions & { readonly mode?: string; readonly offset?: number } = {},
  ): Promise<FileInfo> {
    const query = { path, mode: options.mode, user: options.user, offset: options.offset };
    // A stream takes as long as its source does.
    const timeoutMs = options.timeoutMs ?? (typeof content === "string" || content instanceof Uint8Array ? undefined : 0);
    return this.#http.json({ signal: options.signal, timeoutMs, method: "PUT", path: this.#path, query, content });
  }

  /**
   * What is in a folder, `depth` levels deep.
   *
   * ```ts
   * const { items } = await sandbox.files.list("/home/user", { depth: 2 });
   * for (const { path, type, size } of items) console.log(path, type, size);
   * ```
   */
  async list(path: string, options: FileOptions & { readonly depth?: number } = {}): Promise<FileList> {
    return this.#get("/list", { path, user: options.user, depth: options.depth }, options);
  }

  /**
   * What is known of one path; a symlink itself unless `follow` is set. Throws `file_not_found`.
   *
   * ```ts
   * const { size, mode, mod_time } = await sandbox.files.stat("/etc/passwd");
   * ```
   */
  async stat(path: string, options: FileOptions & { readonly follow?: boolean } = {}): Promise<FileInfo> {
    return this.#get("/stat", { path, user: options.user, follow: options.follow }, options);
  }

  /**
   * Whether there is anything at a path.
   *
   * ```ts
   * if (!(await sandbox.files.exists("/home/user/work"))) await sandbox.files.mkdir("/home/user/work");
   * ```
   */
  async exists(path: string, options: FileOptions = {}): Promise<boolean> {
    try {
      await this.stat(path, options);
      return true;
    } catch (error) {
      if (error instanceof CaissonApiError && (error.code === "file_not_found" || error.code === "not_a_directory")) return false;
      throw error;
    }
  }

  /**
   * Entries that match a pattern of `*`, `?`, `[…]` and `**`.
   *
   * ```ts
   * const { items } = await sandbox.files.glob("**" + "/*.py", { cwd: "/home/user" });
   * ```
   */
  async glob(pattern: string, options: FileOptions & { readonly cwd?: string; readonly limit?: number } = {}): Promise<FileList> {
    return this.#get("/glob", { pattern, cwd: options.cwd, limit: options.limit, user: options.user }, options);
  }

  /**
   * Moves or renames; an existing target is replaced unless `overwrite` is false.
   *
   * ```ts
   * await sandbox.files.write("/home/user/draft.txt", "hello");
   * await sandbox.files.move("/home/user/draft.txt", "/home/user/final.txt");
   * ```
   */
  async move(from: string, to: string, options: FileOptions & { readonly overwrite?: boolean } = {}): Promise<void> {
    await this.#post("/move", { old_path: from, new_path: to, overwrite: options.overwrite, user: options.user }, options);
  }

  /**
   * Removes a file, or with `recursive` a folder and all in it.
   *
   * ```ts
   * await sandbox.files.write("/home/user/old/notes.txt", "hello");
   * await sandbox.files.remove("/home/user/old", { recursive: true });
   * ```
   */
  async remove(path: string, options: FileOptions & { readonly recursive?: boolean } = {}): Promise<void> {
    const query = { path, user: options.user, recursive: options.recursive };
    await this.#http.json({
      signal: options.signal,
      timeoutMs: options.timeoutMs,
      method: "DELETE",
      path: this.#path,
      query,
      idempotent: false,
    });
  }

  /**
   * Sets the mode, in octal digits such as `0755`.
   *
   * ```ts
   * await sandbox.files.write("/home/user/run.sh", "#!/bin/sh\necho hello\n");
   * await sandbox.files.chmod("/home/user/run.sh", "0755");
   * ```
   */
  async chmod(path: string, mode: string, options: FileOptions & { readonly recursive?: boolean } = {}): Promise<void> {
    await this.#post("/chmod", { path, mode, recursive: options.recursive, user: options.user }, options);
  }

  /**
   * Sets the owner: `user`, `uid`, or either with `:group`.
   *
   * ```ts
   * await sandbox.files.write("/srv/data.csv", "a,b\n", { user: "root" });
   * await sandbox.files.chown("/srv/data.csv", "user:user");
   * ```
   */
  async chown(path: string, owner: string, options: CallOptions & { readonly recursive?: boolean } = {}): Promise<void> {
    await this.#post("/chown", { path, owner, recursive: options.recursive }, options);
  }

  /**
   * Makes a folder, and unless `parents` is false those above it.
   *
   * ```ts
   * await sandbox.files.mkdir("/home/user/data/raw", { mode: "0700" });
   * ```
   */
  async mkdir(path: string, options: FileOptions & { readonly mode?: string; readonly parents?: boolean } = {}): Promise<void> {
    await this.#post("/mkdir", { path, mode: options.mode, parents: options.parents, user: options.user }, options);
  }

  #download(path: string, options: FileOptions & { readonly offset?: number; readonly length?: number }): HttpRequest {
    const query = { path, user: options.user, offset: options.offset, length: options.length };
    return { signal: options.signal, timeoutMs: options.timeoutMs, method: "GET", path: this.#path, query };
  }

  #get<T>(path: string, query: HttpRequest["query"] & object, options: CallOptions): Promise<T> {
    return this.#http.json({ signal: options.signal, timeoutMs: options.timeoutMs, method: "GET", path: this.#path + path, query });
  }

  async #post(path: string, json: unknown, options: CallOptions): Promise<void> {
    await this.#http.json({ signal: options.signal, timeoutMs: options.timeoutMs, method: "POST", path: this.#path + path, json });
  }
}
