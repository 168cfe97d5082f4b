import type { IncomingHttpHeaders } from "node:http";
import { CaissonError } from "@caisson/contract";
import type { FileEntry, Guest } from "@caisson/guest";
import { contentRange, readRange } from "../http/byte-range.ts";
import { checkConditions, isConditional, rangeHolds, type Validators } from "../http/conditions.ts";
import { reprDigest, wantsSha256 } from "../http/digest-headers.ts";
import type { FileOptions } from "./file-options.ts";
import { modeText } from "./file-view.ts";

/** How often a file that changes between a look at it and its opening is looked at again. */
const ATTEMPTS = 4;

/** What a file request asks for beside its path. */
export interface FileWish {
  readonly headers: IncomingHttpHeaders;
  readonly options: FileOptions;
  /** A part named by the query: read as it is, unchecked against changes. */
  readonly part?: { readonly offset?: number; readonly length?: number };
}

/** What to answer. */
export interface FileAnswer {
  readonly status: 200 | 206 | 304;
  readonly headers: Readonly<Record<string, string>>;
  /** Bytes of the body; undefined when not known. */
  readonly length: number | undefined;
  /** Absent for 304. */
  readonly content?: AsyncIterable<Uint8Array>;
}

/** The ETag of a file, and when it was changed. */
export function validatorsOf(entry: FileEntry): Validators {
  return { etag: `"${entry.version}"`, mtimeMs: entry.mtimeMs };
}

/** Looks at a file without reading it: what `GET` would answer to these conditions. */
export async function lookAtFile(guest: Guest, path: string, { headers, options }: FileWish): Promise<FileAnswer> {
  const { entry, sha256 } = await look(guest, path, headers, options);
  if (entry.type === "directory") throw new CaissonError("is_a_directory", `${path} is a directory.`);
  const known = checkConditions(headers, validatorsOf(entry), "read") === "not-modified";
  return { status: known ? 304 : 200, headers: headersOf(entry, sha256), length: known ? undefined : sizeOf(entry) };
}

/**
 * Opens a file for a download. Conditions, ranges and digests hold for the very version that is then read, and the content
 * throws `conflict` before its last byte when the file changed meanwhile, so that no two versions are ever mixed.
 */
export async function openFile(guest: Guest, path: string, wish: FileWish): Promise<FileAnswer> {
  const { headers, options, part } = wish;
  const range = headers.range;
  if (range !== undefined && part !== undefined)
    throw new CaissonError("invalid_request", "There must be either a Range header or offset and length, not both.");
  const careful = range !== undefined || isConditional(headers) || wantsSha256(headers);
  if (!careful) {
    const { entry, content } = await guest.readFile(path, { ...options, ...part });
    return whole(guest, { path, entry, content, wish, sha256: undefined });
  }
  for (let attempt = 1; ; attempt += 1) {
    const { entry, sha256 } = await look(guest, path, headers, options);
    if (checkConditions(headers, validatorsOf(entry), "read") === "not-modified")
      return { status: 304, headers: headersOf(entry, sha256), length: undefined };
    const size = sizeOf(entry);
    const wanted = range !== undefined && size !== undefined && rangeHolds(headers["if-range"] as string | undefined, validatorsOf(entry));
    const asked = wanted ? readRange(range, size) : ({ kind: "whole" } as const);
    if (asked.kind === "unsatisfiable") throw outside(size ?? 0);
    const leave = new AbortController();
    const signal = AbortSignal.any([options.signal, leave.signal]);
    const bytes = asked.kind === "part" ? { offset: asked.offset, length: asked.length } : part;
    const opened = await guest.readFile(path, { ...options, ...bytes, signal });
    if (opened.entry.version === entry.version) {
      if (asked.kind === "whole") return whole(guest, { path, ...opened, wish, sha256 });
      return {
        status: 206,
        headers: { ...headersOf(entry, sha256), "content-range": contentRange(asked, size ?? 0) },
        length: asked.length,
        content: unchanged(opened.content, asked.length, () => checkVersion(guest, path, entry, options)),
      };
    }
    leave.abort();
    if (attempt === ATTEMPTS) throw changed(path);
  }
}

interface Opened {
  readonly path: string;
  readonly entry: FileEntry;
  readonly content: AsyncIterable<Uint8Array>;
  readonly wish: FileWish;
  readonly sha256: string | undefined;
}

function whole(guest: Guest, { path, entry, content, wish, sha256 }: Opened): FileAnswer {
  const size = sizeOf(entry);
  const { offset = 0, length = Number.POSITIVE_INFINITY } = wish.part ?? {};
  const expected = size === undefined ? undefined : Math.max(0, Math.min(length, size - offset));
  const checked = wish.part === undefined && expected !== undefined;
  return {
    status: 200,
    headers: headersOf(entry, sha256),
    length: expected,
    content: checked ? unchanged(content, expected, () => checkVersion(guest, path, entry, wish.options)) : content,
  };
}

/** The file as it is now; with its digest when that is asked for. */
async function look(
  guest: Guest,
  path: string,
  headers: IncomingHttpHeaders,
  options: FileOptions,
): Promise<{ readonly entry: FileEntry; readonly sha256: string | undefined }> {
  if (wantsSha256(headers)) return guest.digest(path, options);
  return { entry: await guest.stat(path, { ...options, follow: true }), sha256: undefined };
}

/** Passes `length` bytes on; the last of them only after a check. */
async function* unchanged(content: AsyncIterable<Uint8Array>, length: number, check: () => Promise<void>): AsyncGenerator<Uint8Array> {
  let left = length;
  for await (const bytes of content) {
    if (bytes.length >= left) await check();
    yield bytes.length > left ? bytes.subarray(0, left) : bytes;
    left -= bytes.length;
    if (left <= 0) return;
  }
}

async function checkVersion(guest: Guest, path: string, entry: FileEntry, options: FileOptions): Promise<void> {
  const now = await guest.stat(path, { ...options, follow: true });
  if (now.version !== entry.version) throw changed(path);
}

function outside(size: number): CaissonError {
  return new CaissonError("range_not_satisfiable", `The file has ${size} bytes; the range lies outside of them.`, { detail: { size } });
}

function changed(path: string): CaissonError {
  return new CaissonError("conflict", `${path} changed while it was read.`);
}

/** How many bytes a file has; files of the kernel say 0 and have more. */
function sizeOf(entry: FileEntry): number | undefined {
  return entry.type !== "file" || entry.size === 0 ? undefined : entry.size;
}

function headersOf(entry: FileEntry, sha256: string | undefined): Record<string, string> {
  return {
    "content-type": "application/octet-stream",
    "content-disposition": disposition(entry.name),
    "accept-ranges": "bytes",
    etag: validatorsOf(entry).etag,
    "last-modified": new Date(Math.max(0, Math.min(entry.mtimeMs, 253_402_300_799_000))).toUTCString(),
    "x-file-mode": modeText(entry.mode),
    ...(sha256 === undefined ? {} : { "repr-digest": reprDigest(sha256) }),
  };
}

/** `Content-Disposition` with a file's name, whatever it has in it (RFC 8187). Never shown in a page: what it holds is hostile. */
function disposition(name: string): string {
  const plain = name.toWellFormed().replaceAll(/[\p{Cc}]/gu, "_");
  const escaped = encodeURIComponent(plain).replaceAll(/['()*]/g, (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`);
  return `attachment; filename*=UTF-8''${escaped}`;
}
