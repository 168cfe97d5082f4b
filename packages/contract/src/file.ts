import { z } from "zod";
import { fileModeSchema, guestPathSchema, guestUserSchema } from "./field.ts";

/** Largest file content in a JSON body, in bytes. */
export const FILE_JSON_LIMIT = 8_388_608;

/** A file system entry of a sandbox. */
export const fileInfoSchema = z
  .strictObject({
    path: z.string(),
    name: z.string(),
    type: z.enum(["file", "directory", "symlink", "fifo", "socket", "block", "char"]),
    size: z.int().meta({ description: "Bytes" }),
    mode: fileModeSchema,
    uid: z.int(),
    gid: z.int(),
    user: z.string().nullable(),
    group: z.string().nullable(),
    mod_time: z.iso.datetime(),
    is_dir: z.boolean(),
    target: z.string().optional().meta({ description: "Where a symlink points" }),
    version: z.string().meta({ description: "Changes whenever content or attributes do; in quotes it is the ETag of a download" }),
  })
  .meta({ id: "FileInfo" });
export type FileInfo = z.infer<typeof fileInfoSchema>;

/** Body of `POST /sandboxes/{id}/files`: a small file as JSON. */
export const writeFileSchema = z
  .strictObject({
    path: guestPathSchema,
    content: z.string().max(FILE_JSON_LIMIT).optional().meta({ description: "Text content" }),
    content_base64: z.base64().max(11_184_812).optional().meta({ description: "Binary content, instead of `content`" }),
    mode: fileModeSchema.optional(),
    user: guestUserSchema.optional(),
  })
  .refine((body) => (body.content === undefined) !== (body.content_base64 === undefined), {
    path: ["content"],
    error: "exactly one of content and content_base64 is needed",
  })
  .meta({ id: "WriteFile" });

/** What a signed URL carries instead of a key. */
const fileTokenSchema = z.string().min(1).max(8192).meta({ description: "The token of a signed URL; it then is the only other field" });

/** Query of `PUT /sandboxes/{id}/files`: a raw upload of any size. */
export const uploadQuerySchema = z.strictObject({
  path: guestPathSchema,
  mode: fileModeSchema.optional(),
  user: guestUserSchema.optional(),
  token: fileTokenSchema.optional(),
  offset: z.coerce.number().int().min(0).optional().meta({ description: "Write in place from this offset instead of replacing the file" }),
});

/** Query of `GET /sandboxes/{id}/files`: a raw download. */
export const downloadQuerySchema = z.strictObject({
  path: guestPathSchema,
  user: guestUserSchema.optional(),
  offset: z.coerce.number().int().min(0).optional(),
  length: z.coerce.number().int().min(0).optional(),
  token: fileTokenSchema.optional(),
});

/** Query of `HEAD /sandboxes/{id}/files`: what a download would answer. */
export const headFileQuerySchema = downloadQuerySchema.pick({ path: true, user: true, token: true }).strict();

export const deleteFileQuerySchema = z.strictObject({
  path: guestPathSchema,
  user: guestUserSchema.optional(),
  recursive: z.enum(["true", "false"]).optional(),
});
export const listFilesQuerySchema = z.strictObject({
  path: guestPathSchema.optional(),
  user: guestUserSchema.optional(),
  depth: z.coerce.number().int().min(1).max(64).optional().meta({ description: "Levels to list, default 1" }),
});
export const statFileQuerySchema = z.strictObject({
  path: guestPathSchema,
  user: guestUserSchema.optional(),
  follow: z.enum(["true", "false"]).optional(),
});
export const globQuerySchema = z.strictObject({
  pattern: z.string().min(1).max(4096),
  cwd: guestPathSchema.optional(),
  user: guestUserSchema.optional(),
  limit: z.coerce.number().int().min(1).max(100_000).optional(),
});
export const moveFileSchema = z
  .strictObject({
    old_path: guestPathSchema,
    new_path: guestPathSchema,
    overwrite: z.boolean().optional(),
    user: guestUserSchema.optional(),
  })
  .meta({ id: "MoveFile" });
export const chmodFileSchema = z
  .strictObject({ path: guestPathSchema, mode: fileModeSchema, recursive: z.boolean().optional(), user: guestUserSchema.optional() })
  .meta({ id: "ChmodFile" });
export const chownFileSchema = z
  .strictObject({
    path: guestPathSchema,
    owner: z.string().min(1).max(64).meta({ description: "`user`, `uid`, or either with `:group`" }),
    recursive: z.boolean().optional(),
  })
  .meta({ id: "ChownFile" });
export const makeDirSchema = z
  .strictObject({
    path: guestPathSchema,
    mode: fileModeSchema.optional(),
    parents: z.boolean().optional().meta({ description: "Default true" }),
    user: guestUserSchema.optional(),
  })
  .meta({ id: "MakeDir" });

/** A SHA-256 in hex. */
export const sha256Schema = z
  .string()
  .regex(/^[0-9a-f]{64}$/, { error: "must be a SHA-256 in 64 lower-case hex digits" })
  .meta({ description: "SHA-256 in hex" });

/** A file that was written: its facts, and the digest of the bytes that were sent for it. */
export const writtenFileSchema = fileInfoSchema.extend({ sha256: sha256Schema }).meta({ id: "WrittenFile" });
export type WrittenFile = z.infer<typeof writtenFileSchema>;

/** Answer of listings: `truncated` says that there was more than the limit. */
export const fileListSchema = z.strictObject({ items: z.array(fileInfoSchema), truncated: z.boolean() }).meta({ id: "FileList" });
export type FileList = z.infer<typeof fileListSchema>;
