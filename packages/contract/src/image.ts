import { z } from "zod";
import { workerIdSchema } from "./worker.ts";

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

/** An image as the API shows it: with the worker that has it. */
export const workerImageSchema = imageSchema
  .extend({ worker_id: z.string().meta({ description: "The worker that has it" }) })
  .meta({ id: "WorkerImage", description: "An image, and where it is" });
export type WorkerImage = z.infer<typeof workerImageSchema>;

export const imageListSchema = z.strictObject({ items: z.array(workerImageSchema) }).meta({ id: "ImageList" });

/** Query of `GET /images`. */
export const listImagesQuerySchema = z.strictObject({
  worker_id: workerIdSchema.optional().meta({ description: "Only those of this worker. Default: of all that can be reached" }),
});

const oneWorkerId = workerIdSchema.optional().meta({ description: "The worker. Default: the only one; needed when there are several" });

/** Query of `DELETE /images/{name}`. */
export const removeImageQuerySchema = z.strictObject({ worker_id: oneWorkerId });

/** Body of `POST /images`: pull an OCI reference. */
export const pullImageSchema = z
  .strictObject({
    reference: z
      .string()
      .min(1)
      .max(512)
      .meta({ description: "OCI reference", examples: ["debian:12"] }),
    force: z.boolean().optional().meta({ description: "Ask the registry again even when it is here" }),
    worker_id: oneWorkerId,
  })
  .meta({ id: "PullImage" });

/** Query of `POST /images/import`: the body is a tar archive of a root file system, plain, gzip or zstd. */
export const importImageQuerySchema = z.strictObject({
  name: z.string().regex(/^[a-z0-9][a-z0-9._/-]{0,127}(?::[\w][\w.-]{0,127})?$/, {
    error: "must be lower-case letters, digits, and . _ / - with an optional :tag",
  }),
  worker_id: oneWorkerId,
});
