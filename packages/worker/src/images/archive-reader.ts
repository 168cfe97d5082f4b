import { pipeline, Readable } from "node:stream";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { CaissonError, isCaissonError } from "@caisson/contract";

/** Bytes needed to tell the kind of an archive. */
const HEAD = 512;

/** Beginnings of files, by what they are. */
const MAGIC = {
  gzip: [0x1f, 0x8b],
  zstd: [0x28, 0xb5, 0x2f, 0xfd],
  xz: [0xfd, 0x37, 0x7a, 0x58, 0x5a],
  bzip2: [0x42, 0x5a, 0x68],
  zip: [0x50, 0x4b, 0x03, 0x04],
} as const;

/** The tar bytes of an archive that is plain, gzip or zstd, told by its first bytes; anything else is refused. */
export async function openArchive(archive: AsyncIterable<Uint8Array>): Promise<Readable> {
  const source = archive[Symbol.asyncIterator]();
  const head: Uint8Array[] = [];
  let length = 0;
  while (length < HEAD) {
    const value = await take(source);
    if (value === undefined) break;
    head.push(value);
    length += value.byteLength;
  }
  const start = Buffer.concat(head);
  const kind = kindOf(start);
  if (kind !== "tar" && kind !== "gzip" && kind !== "zstd") {
    await source.return?.();
    throw new CaissonError("invalid_request", `The archive must be tar, plain or packed with gzip or zstd; this is ${kind}.`);
  }
  async function* whole(): AsyncGenerator<Uint8Array> {
    try {
      yield start;
      for (let next = await take(source); next !== undefined; next = await take(source)) yield next;
    } finally {
      await source.return?.();
    }
  }
  const input = Readable.from(whole(), { objectMode: false });
  if (kind === "tar") return input;
  const unpacked = kind === "gzip" ? createGunzip() : createZstdDecompress();
  // An error of either destroys both; the reader of the tar bytes sees it.
  pipeline(input, unpacked, () => undefined);
  return unpacked;
}

async function take(source: AsyncIterator<Uint8Array>): Promise<Uint8Array | undefined> {
  try {
    const next = await source.next();
    return next.done === true ? undefined : next.value;
  } catch (error) {
    throw isCaissonError(error) ? error : new CaissonError("cancelled", "The archive stopped before its end.", { cause: error });
  }
}

function kindOf(start: Buffer): "tar" | keyof typeof MAGIC | "something else" {
  for (const [kind, magic] of Object.entries(MAGIC)) {
    if (magic.every((byte, at) => start[at] === byte)) return kind as keyof typeof MAGIC;
  }
  return start.byteLength >= HEAD && start.toString("latin1", 257, 262) === "ustar" ? "tar" : "something else";
}
