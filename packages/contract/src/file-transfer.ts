import { z } from "zod";
import { fileModeSchema, guestPathSchema, guestUserSchema, positiveDurationSchema } from "./field.ts";
import { sha256Schema, writtenFileSchema } from "./file.ts";

/** Query of `POST /sandboxes/{id}/files/upload`: several files as a form. */
export const formUploadQuerySchema = z.strictObject({
  user: guestUserSchema.optional(),
  mode: fileModeSchema.optional().meta({ description: "Mode of every file" }),
});

/** Answer of a form upload, in the order of the form. */
export const formUploadSchema = z.strictObject({ items: z.array(writtenFileSchema) }).meta({ id: "WrittenFiles" });
export type WrittenFiles = z.infer<typeof formUploadSchema>;

/** Body of `POST /sandboxes/{id}/uploads`. */
export const openUploadSchema = z
  .strictObject({
    path: guestPathSchema,
    size: z.int().min(0).optional().meta({ description: "Bytes it will have; it cannot be committed with fewer or more" }),
    mode: fileModeSchema.optional(),
    user: guestUserSchema.optional(),
  })
  .meta({ id: "OpenUpload" });

/** A resumable upload under way; nothing shows at its path until it is committed. */
export const uploadSchema = z
  .strictObject({
    upload_id: z.int().meta({ description: "Id in its sandbox; never used again there" }),
    path: z.string(),
    offset: z.int().meta({ description: "Bytes it has: where the next ones go" }),
    size: z.int().nullable().meta({ description: "Bytes it will have; null when not announced" }),
    expires_at: z.iso.datetime().meta({ description: "When it is dropped unless bytes come" }),
  })
  .meta({ id: "Upload" });
export type Upload = z.infer<typeof uploadSchema>;

/** Answer of `GET /sandboxes/{id}/uploads`. */
export const uploadListSchema = z.strictObject({ items: z.array(uploadSchema) }).meta({ id: "UploadList" });

/** Body of `POST /sandboxes/{id}/uploads/{upload_id}/commit`. */
export const commitUploadSchema = z
  .strictObject({ sha256: sha256Schema.optional().meta({ description: "Refuse the file unless it has this digest" }) })
  .meta({ id: "CommitUpload" });

/** Glob patterns of a query that may repeat. */
const patterns = z
  .union([z.string().min(1).max(4096), z.array(z.string().min(1).max(4096)).max(64)])
  .meta({ description: "Pattern relative to the folder, such as `**/node_modules`; may be given up to 64 times" });

/** Query of `GET /sandboxes/{id}/files/archive`. */
export const readArchiveQuerySchema = z.strictObject({
  path: guestPathSchema,
  exclude: patterns.optional(),
  user: guestUserSchema.optional(),
});

/** Query of `PUT /sandboxes/{id}/files/archive`. */
export const writeArchiveQuerySchema = z.strictObject({
  path: guestPathSchema,
  mode: fileModeSchema.optional().meta({ description: "Mode of the folder when it is made" }),
  keep_owners: z.enum(["true", "false"]).optional().meta({ description: "Keep the numeric owners of the archive, as far as the user may" }),
  user: guestUserSchema.optional(),
});

/** Answer of unpacking an archive. */
export const unpackedSchema = z
  .strictObject({ entries: z.int().meta({ description: "Entries unpacked" }), bytes: z.int().meta({ description: "Bytes of all files" }) })
  .meta({ id: "Unpacked" });
export type Unpacked = z.infer<typeof unpackedSchema>;

/** What a signed URL may do with its file. */
export const SIGNED_ACTIONS = ["read", "write"] as const;
export type SignedAction = (typeof SIGNED_ACTIONS)[number];

/** Longest life of a signed URL, in ms: 7 days. */
export const MAX_SIGNED_MS = 604_800_000;

/** Body of `POST /sandboxes/{id}/files/sign`. */
export const signFileSchema = z
  .strictObject({
    path: guestPathSchema,
    action: z.enum(SIGNED_ACTIONS).meta({ description: "`read`: GET and HEAD; `write`: PUT" }),
    ttl: positiveDurationSchema.optional().meta({ description: "How long it opens the file. Default 15m, at most 168h" }),
    user: guestUserSchema.optional(),
  })
  .meta({ id: "SignFile" });

/** A URL that does for a key, for one file and one action. */
export const signedUrlSchema = z.strictObject({ url: z.string(), expires_at: z.iso.datetime() }).meta({ id: "SignedUrl" });
export type SignedUrl = z.infer<typeof signedUrlSchema>;

/** Name of an extended attribute. */
const attributeName = z
  .string()
  .min(3)
  .max(255)
  .refine((name) => name.includes(".") && !name.includes("\0"), { error: "must be a name with its namespace, such as user.origin" })
  .meta({ description: "Name with its namespace", examples: ["user.origin"] });

/** Query of `GET /sandboxes/{id}/files/xattrs`. */
export const getXattrsQuerySchema = z.strictObject({
  path: guestPathSchema,
  follow: z.enum(["true", "false"]).optional().meta({ description: "Of what a symlink points to. Default true" }),
  user: guestUserSchema.optional(),
});

/** Query of `DELETE /sandboxes/{id}/files/xattrs`. */
export const removeXattrQuerySchema = getXattrsQuerySchema.extend({ name: attributeName });

/** Body of `PUT /sandboxes/{id}/files/xattrs`. */
export const setXattrSchema = z
  .strictObject({
    path: guestPathSchema,
    name: attributeName,
    value_base64: z.base64().max(87_384).meta({ description: "The value, at most 64 KiB" }),
    follow: z.boolean().optional().meta({ description: "Of what a symlink points to. Default true" }),
    user: guestUserSchema.optional(),
  })
  .meta({ id: "SetXattr" });

/** Extended attributes: values in base64 by name. */
export const xattrsSchema = z.strictObject({ attributes: z.record(z.string(), z.string()) }).meta({ id: "Xattrs" });
export type Xattrs = z.infer<typeof xattrsSchema>;
