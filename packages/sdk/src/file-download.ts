import { CaissonApiError } from "./api-error.ts";
import type { ReadOptions } from "./file-options.ts";
import { callOf } from "./file-options.ts";
import type { HttpClient } from "./http-client.ts";
import { createSha256, sha256Of } from "./sha256.ts";

/** A file on its way. */
export interface Download {
  readonly body: ReadableStream<Uint8Array>;
  /** Bytes to come; undefined when the server does not know. */
  readonly size: number | undefined;
  /** In octal digits. */
  readonly mode: string | undefined;
}

/** Opens a file. With `verify` its stream fails with `digest_mismatch` at its end, rather than ending, when the bytes are not the file's. */
export async function openDownload(http: HttpClient, base: string, path: string, options: ReadOptions): Promise<Download> {
  const { user, offset, length, verify } = options;
  if (verify === true && (offset !== undefined || length !== undefined))
    throw new CaissonApiError("invalid_request", "Only a whole file can be verified, not a part of one.");
  const { body, headers } = await http.stream({
    ...callOf(options),
    method: "GET",
    path: base,
    query: { path, user, offset, length },
    ...(verify === true ? { headers: { "want-repr-digest": "sha-256=1" } } : {}),
  });
  const size = headers.get("content-length");
  return {
    body: verify === true ? verified(body, path, sha256Of(headers.get("repr-digest"))) : body,
    size: size === null ? undefined : Number(size),
    mode: headers.get("x-file-mode") ?? undefined,
  };
}

/** All the bytes of a stream. */
export async function gather(body: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  return new Uint8Array(await new Response(body as ConstructorParameters<typeof Response>[0]).arrayBuffer());
}

function verified(body: ReadableStream<Uint8Array>, path: string, expected: string | undefined): ReadableStream<Uint8Array> {
  if (expected === undefined) throw new CaissonApiError("protocol_error", "The server did not tell the digest of the file.");
  const hash = createSha256();
  return body.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform: (bytes, controller) => {
        hash.update(bytes);
        controller.enqueue(bytes);
      },
      flush: () => {
        const sha256 = hash.hex();
        if (sha256 === expected) return;
        throw new CaissonApiError("digest_mismatch", `The bytes of ${path} that came have the SHA-256 ${sha256}, not ${expected}.`);
      },
    }),
  );
}
