import { z } from "zod";

/** An image on a worker. */
export const imageSchema = z
  .strictObject({
    name: z.string().meta({ description: "`host`, the name given at import, or the OCI reference" }),
    digest: z.string().nullable().meta({ description: "`sha256:…` of its content; null for `host`" }),
    source: z.enum(["builtin", "import", "registry"]),
    size_bytes: z.int(),
    created_at: z.iso.datetime(),
    sandboxes: z.int().meta({ description: "How many sandboxes use it now" }),
    user: z.string().nullable().meta({ description: "Default user" }),
    workdir: z.string().nullable(),
  })
  .meta({ id: "Image" });
export type Image = z.infer<typeof imageSchema>;

export const imageListSchema = z.strictObject({ items: z.array(imageSchema) }).meta({ id: "ImageList" });

/** Body of `POST /images`: pull an OCI reference. */
export const pullImageSchema = z
  .strictObject({
    reference: z
      .string()
      .min(1)
      .max(512)
      .meta({ description: "OCI reference", examples: ["debian:12"] }),
    force: z.boolean().optional().meta({ description: "Ask the registry again even when it is here" }),
  })
  .meta({ id: "PullImage" });

/** Query of `POST /images/import`: the body is a tar archive of a root file system, plain, gzip or zstd. */
export const importImageQuerySchema = z.strictObject({
  name: z.string().regex(/^[a-z0-9][a-z0-9._/-]{0,127}(?::[\w][\w.-]{0,127})?$/, {
    error: "must be lower-case letters, digits, and . _ / - with an optional :tag",
  }),
});
