import type { FileInfo, FileList, Xattrs } from "@caisson/contract";
import { CaissonApiError } from "./api-error.ts";
import { fromBase64, toBase64 } from "./base64.ts";
import type { CallOptions } from "./call-options.ts";
import { callOf, type FileOptions } from "./file-options.ts";
import type { HttpClient, HttpRequest } from "./http-client.ts";

/** What is done with files and folders without looking into them: a part of `sandbox.files`. */
export class FileEntries {
  readonly #http: HttpClient;
  readonly #path: string;

  /** Made by `Sandbox`. */
  constructor(http: HttpClient, sandboxId: string) {
    this.#http = http;
    this.#path = `/sandboxes/${encodeURIComponent(sandboxId)}/files`;
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
    await this.#http.json({ ...callOf(options), method: "DELETE", path: this.#path, query, idempotent: false });
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

  /**
   * Extended attributes of a file.
   *
   * ```ts
   * await sandbox.files.write("/home/user/a.txt", "a");
   * await sandbox.files.setXattr("/home/user/a.txt", "user.origin", "upload");
   * const attributes = await sandbox.files.xattrs("/home/user/a.txt");
   * const origin = new TextDecoder().decode(attributes["user.origin"]);
   * ```
   */
  async xattrs(
    path: string,
    options: FileOptions & { readonly follow?: boolean | undefined } = {},
  ): Promise<Readonly<Record<string, Uint8Array>>> {
    const { attributes } = await this.#get<Xattrs>("/xattrs", { path, user: options.user, follow: options.follow }, options);
    return Object.fromEntries(Object.entries(attributes).map(([name, value]) => [name, fromBase64(value) ?? new Uint8Array()]));
  }

  /**
   * Sets an extended attribute; `user.` names work on most file systems.
   *
   * ```ts
   * await sandbox.files.write("/home/user/b.txt", "b");
   * await sandbox.files.setXattr("/home/user/b.txt", "user.checked", new Uint8Array([1]));
   * ```
   */
  async setXattr(
    path: string,
    name: string,
    value: string | Uint8Array,
    options: FileOptions & { readonly follow?: boolean | undefined } = {},
  ): Promise<void> {
    const value_base64 = toBase64(typeof value === "string" ? new TextEncoder().encode(value) : value);
    const json = { path, name, value_base64, follow: options.follow, user: options.user };
    await this.#http.json({ ...callOf(options), method: "PUT", path: `${this.#path}/xattrs`, json });
  }

  /**
   * Removes an extended attribute.
   *
   * ```ts
   * await sandbox.files.write("/home/user/c.txt", "c");
   * await sandbox.files.setXattr("/home/user/c.txt", "user.checked", "yes");
   * await sandbox.files.removeXattr("/home/user/c.txt", "user.checked");
   * ```
   */
  async removeXattr(path: string, name: string, options: FileOptions & { readonly follow?: boolean | undefined } = {}): Promise<void> {
    const query = { path, name, follow: options.follow, user: options.user };
    await this.#http.json({ ...callOf(options), method: "DELETE", path: `${this.#path}/xattrs`, query, idempotent: false });
  }

  #get<T>(path: string, query: HttpRequest["query"] & object, options: CallOptions): Promise<T> {
    return this.#http.json({ signal: options.signal, timeoutMs: options.timeoutMs, method: "GET", path: this.#path + path, query });
  }

  async #post(path: string, json: unknown, options: CallOptions): Promise<void> {
    await this.#http.json({ signal: options.signal, timeoutMs: options.timeoutMs, method: "POST", path: this.#path + path, json });
  }
}
