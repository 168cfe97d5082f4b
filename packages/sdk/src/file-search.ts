import type { Replaced, SearchMatchRecord } from "@caisson/contract";
import { CaissonApiError, errorFromWire } from "./api-error.ts";
import { callOf, type FileOptions } from "./file-options.ts";
import type { HttpClient } from "./http-client.ts";
import { readNdjson } from "./ndjson.ts";

/** Where to look, and how. */
export interface SearchOptions extends FileOptions {
  /** The pattern is plain text. @default false: a regular expression */
  readonly fixed?: boolean | undefined;
  readonly ignoreCase?: boolean | undefined;
  /** Only files that match one of these globs, relative to the folder. */
  readonly include?: readonly string[] | undefined;
  /** No files or folders that match one of these. */
  readonly exclude?: readonly string[] | undefined;
  /** Larger files are skipped. @default 64 MiB */
  readonly maxFileBytes?: number | undefined;
}

/** One match of a search. */
export type SearchMatch = Omit<SearchMatchRecord, "type">;

/** What a search went through. */
export interface SearchSummary {
  readonly matches: number;
  /** Files looked at. */
  readonly files: number;
  /** Files passed over: binary, too large, unreadable. */
  readonly skipped: number;
  /** The limit cut it. */
  readonly truncated: boolean;
}

/** Matches as they are found; the generator's value is the summary. */
export async function* searchFiles(
  http: HttpClient,
  base: string,
  { path, pattern }: { readonly path: string; readonly pattern: string },
  options: SearchOptions & { readonly limit?: number | undefined },
): AsyncGenerator<SearchMatch, SearchSummary, void> {
  const json = { path, pattern, ...bodyOf(options), limit: options.limit };
  const { body } = await http.stream({ ...callOf(options), method: "POST", path: `${base}/search`, json });
  for await (const record of readNdjson(body as unknown as AsyncIterable<Uint8Array>)) {
    if (record.type === "error") throw errorFromWire(record);
    const { type, ...rest } = record;
    if (type === "summary") return rest as unknown as SearchSummary;
    if (type === "match") yield rest as unknown as SearchMatch;
  }
  throw new CaissonApiError("protocol_error", "The server's stream ended without a summary of the search.");
}

/** Replaces in files. */
export function replaceInFiles(
  http: HttpClient,
  base: string,
  { path, pattern, replacement }: { readonly path: string; readonly pattern: string; readonly replacement: string },
  options: SearchOptions & { readonly dryRun?: boolean | undefined },
): Promise<Replaced> {
  const json = { path, pattern, replacement, ...bodyOf(options), dry_run: options.dryRun };
  return http.json({ signal: options.signal, timeoutMs: options.timeoutMs ?? 0, method: "POST", path: `${base}/replace`, json });
}

function bodyOf({ fixed, ignoreCase, include, exclude, maxFileBytes, user }: SearchOptions): object {
  return { fixed, ignore_case: ignoreCase, include, exclude, max_file_bytes: maxFileBytes, user };
}
