import type { Upload, WrittenFile } from "@caisson/contract";
import { CaissonApiError } from "./api-error.ts";
import type { FileOptions } from "./file-options.ts";
import type { Content, HttpClient } from "./http-client.ts";
import { pause } from "./pause.ts";
import { toPieces } from "./pieces.ts";
import { createSha256, sha256Of, type Sha256 } from "./sha256.ts";

/** How to upload a file. */
export interface UploadOptions extends FileOptions {
  /** In octal digits such as `0755`. @default 0644 */
  readonly mode?: string | undefined;
  /** Bytes to come, where a stream's length is known: the file is then refused unless it has that many. */
  readonly size?: number | undefined;
  /** Called as bytes have arrived. */
  readonly onProgress?: ((progress: UploadProgress) => void) | undefined;
  /** Have the server compare what arrived with the SHA-256 of what was sent. @default true */
  readonly verify?: boolean | undefined;
  /** How long a server that cannot be reached is asked again, in ms. @default 60 000 */
  readonly patienceMs?: number | undefined;
}

/** How far an upload is. */
export interface UploadProgress {
  /** Bytes that have arrived. */
  readonly sent: number;
  /** Bytes in all; undefined when not known. */
  readonly size: number | undefined;
}

/** Bytes sent in one request, and held until they have arrived. */
const PIECE = 8_388_608;

/** Time for a piece to be taken, in ms. */
const PIECE_MS = 120_000;

const PATIENCE_MS = 60_000;
const FIRST_PAUSE_MS = 100;
const MAX_PAUSE_MS = 5_000;

/**
 * Uploads content of any size piece by piece. When a connection breaks, or the server restarts, it asks where the upload
 * stands and goes on there. The file appears whole, once all of it has arrived. When it fails for good, or is aborted,
 * nothing is left.
 */
export async function uploadFile(
  http: HttpClient,
  sandbox: string,
  path: string,
  content: Content | Blob,
  options: UploadOptions = {},
): Promise<WrittenFile> {
  const size = options.size ?? sizeOf(content);
  const json = { path, size, mode: options.mode, user: options.user };
  const { signal, timeoutMs } = options;
  const { upload_id } = await http.json<Upload>({ signal, timeoutMs, method: "POST", path: `${sandbox}/uploads`, json });
  const upload = new ResumableUpload(http, `${sandbox}/uploads/${upload_id}`, { ...options, size });
  try {
    for await (const piece of toPieces(content, PIECE)) await upload.send(piece);
    return await upload.commit((sha256) => find(http, sandbox, path, sha256, options));
  } catch (error) {
    await upload.drop();
    throw error;
  }
}

class ResumableUpload {
  readonly #http: HttpClient;
  readonly #path: string;
  readonly #options: UploadOptions;
  readonly #hash: Sha256 | undefined;
  #offset = 0;

  constructor(http: HttpClient, path: string, options: UploadOptions) {
    this.#http = http;
    this.#path = path;
    this.#options = options;
    this.#hash = options.verify === false ? undefined : createSha256();
  }

  /** Sends a piece until it has arrived. */
  async send(piece: Uint8Array): Promise<void> {
    const { signal, size, onProgress } = this.#options;
    this.#hash?.update(piece);
    const start = this.#offset;
    const end = start + piece.length;
    while (this.#offset < end) {
      await this.#patiently(
        () => this.#patch(piece.subarray(this.#offset - start)),
        // What came before a break was kept; how much, the server knows.
        async () => this.#moveTo(await this.#standing(), start, end),
      );
      signal?.throwIfAborted();
      onProgress?.({ sent: this.#offset, size });
    }
  }

  /** Puts the file in place. When the answer was lost, `find` tells whether it is there. */
  async commit(find: (sha256: string) => Promise<WrittenFile | undefined>): Promise<WrittenFile> {
    const sha256 = this.#hash?.hex();
    let answer: WrittenFile | undefined;
    let lost = false;
    await this.#patiently(
      async () => {
        try {
          const { signal } = this.#options;
          answer = await this.#http.json({ signal, timeoutMs: 0, method: "POST", path: `${this.#path}/commit`, json: { sha256 } });
        } catch (error) {
          const gone = error instanceof CaissonApiError && error.code === "upload_not_found";
          if (lost && gone && sha256 !== undefined) answer = await find(sha256);
          if (answer === undefined) throw error;
        }
      },
      async () => void (lost = true),
    );
    if (answer === undefined) throw new CaissonApiError("protocol_error", "The server did not tell what became of the file.");
    return answer;
  }

  /** Lets the server forget it. One that cannot be reached forgets it by itself. */
  async drop(): Promise<void> {
    await this.#http.json({ method: "DELETE", path: this.#path, timeoutMs: 5_000, idempotent: false }).catch(() => undefined);
  }

  async #patch(bytes: Uint8Array): Promise<void> {
    const { signal } = this.#options;
    const { headers } = await this.#http.stream({
      signal,
      timeoutMs: PIECE_MS,
      method: "PATCH",
      path: this.#path,
      content: bytes,
      contentType: "application/offset+octet-stream",
      headers: { "upload-offset": String(this.#offset) },
    });
    this.#moveTo(Number(headers.get("upload-offset") ?? Number.NaN), this.#offset, this.#offset + bytes.length);
  }

  async #standing(): Promise<number> {
    const { signal, timeoutMs } = this.#options;
    return (await this.#http.json<Upload>({ signal, timeoutMs, method: "GET", path: this.#path })).offset;
  }

  #moveTo(offset: number, from: number, to: number): void {
    if (!(offset >= from && offset <= to)) {
      throw new CaissonApiError("protocol_error", `The upload stands at ${offset}, which is not between ${from} and ${to}.`);
    }
    this.#offset = offset;
  }

  /** Does something until it succeeds, or fails for good; after a failure `recover` comes first. */
  async #patiently(work: () => Promise<void>, recover: () => Promise<void>): Promise<void> {
    const { signal, patienceMs = PATIENCE_MS } = this.#options;
    const begun = performance.now();
    let failed = false;
    for (let wait = FIRST_PAUSE_MS; ; wait = Math.min(MAX_PAUSE_MS, wait * 2)) {
      try {
        if (failed) await recover();
        return await work();
      } catch (error) {
        signal?.throwIfAborted();
        const again = error instanceof CaissonApiError && error.retryable && error.code !== "protocol_error";
        if (!again || performance.now() - begun > patienceMs) throw error;
        failed = true;
        await pause(wait, signal);
      }
    }
  }
}

async function find(
  http: HttpClient,
  sandbox: string,
  path: string,
  sha256: string,
  options: FileOptions,
): Promise<WrittenFile | undefined> {
  const { signal, user } = options;
  const query = { path, user };
  const { headers } = await http.stream({
    signal,
    timeoutMs: 0,
    method: "HEAD",
    path: `${sandbox}/files`,
    query,
    headers: { "want-repr-digest": "sha-256=1" },
  });
  if (sha256Of(headers.get("repr-digest")) !== sha256) return undefined;
  const found = await http.json<WrittenFile>({ signal, method: "GET", path: `${sandbox}/files/stat`, query: { ...query, follow: true } });
  return { ...found, sha256 };
}

function sizeOf(content: Content | Blob): number | undefined {
  if (typeof content === "string") return new TextEncoder().encode(content).length;
  if (content instanceof Uint8Array) return content.length;
  return content instanceof Blob ? content.size : undefined;
}
