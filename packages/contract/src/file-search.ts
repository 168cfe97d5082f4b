import { z } from "zod";
import { guestPathSchema, guestUserSchema } from "./field.ts";

const globs = z.array(z.string().min(1).max(4096)).max(64);

const search = {
  path: guestPathSchema.meta({ description: "A folder, or one file" }),
  pattern: z.string().min(1).max(4096).meta({ description: "A regular expression, matched line by line in linear time" }),
  fixed: z.boolean().optional().meta({ description: "The pattern is plain text" }),
  ignore_case: z.boolean().optional(),
  include: globs.optional().meta({ description: "Only files that match one of these globs, relative to the folder" }),
  exclude: globs.optional().meta({ description: "No files or folders that match one of these" }),
  max_file_bytes: z.int().min(1).optional().meta({ description: "Larger files are skipped. Default 64 MiB" }),
  user: guestUserSchema.optional(),
} as const;

/** Body of `POST /sandboxes/{id}/files/search`. */
export const searchFilesSchema = z
  .strictObject({ ...search, limit: z.int().min(1).max(1_000_000).optional().meta({ description: "Most matches. Default 10 000" }) })
  .meta({ id: "SearchFiles" });
export type SearchFiles = z.infer<typeof searchFilesSchema>;

/** Body of `POST /sandboxes/{id}/files/replace`. */
export const replaceInFilesSchema = z
  .strictObject({
    ...search,
    replacement: z
      .string()
      .max(65_536)
      .meta({ description: "`$0` to `$9` are the groups of the match, `$$` is a dollar; with `fixed` it is plain text, dollars and all" }),
    dry_run: z.boolean().optional().meta({ description: "Tell what would be changed, and change nothing" }),
  })
  .meta({ id: "ReplaceInFiles" });
export type ReplaceInFiles = z.infer<typeof replaceInFilesSchema>;

/** One match. */
export const searchMatchSchema = z
  .strictObject({
    type: z.literal("match"),
    path: z.string(),
    line: z.int().meta({ description: "From 1" }),
    offset: z.int().meta({ description: "Byte offset of the match in the file" }),
    text: z.string().meta({ description: "Its line, at most 1024 bytes of it around the match" }),
    start: z.int().meta({ description: "Where in `text` the match begins, in UTF-16 units" }),
    end: z.int().meta({ description: "Where in `text` it ends" }),
  })
  .meta({ id: "SearchMatch" });
export type SearchMatchRecord = z.infer<typeof searchMatchSchema>;

const summary = {
  files: z.int().meta({ description: "Files looked at" }),
  skipped: z.int().meta({ description: "Files passed over: binary, too large, unreadable" }),
} as const;

/** One line of a search: matches, then `summary` or `error` last. */
export const searchRecordSchema = z
  .discriminatedUnion("type", [
    searchMatchSchema,
    z.strictObject({ type: z.literal("alive") }).meta({ description: "Every 15 s: a search that finds nothing still goes on" }),
    z.strictObject({
      type: z.literal("summary"),
      matches: z.int(),
      ...summary,
      truncated: z.boolean().meta({ description: "The limit cut it" }),
    }),
    z.strictObject({ type: z.literal("error"), code: z.string(), message: z.string(), remedy: z.string() }),
  ])
  .meta({ id: "SearchRecord" });
export type SearchRecord = z.infer<typeof searchRecordSchema>;

/** Answer of a replacement. */
export const replacedSchema = z
  .strictObject({
    items: z.array(z.strictObject({ path: z.string(), count: z.int().meta({ description: "Matches replaced in it" }) })),
    count: z.int().meta({ description: "Matches replaced in all files" }),
    ...summary,
    truncated: z.boolean().meta({ description: "More files were changed than are named" }),
  })
  .meta({ id: "Replaced" });
export type Replaced = z.infer<typeof replacedSchema>;
