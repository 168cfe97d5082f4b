import { z } from "zod";

/** What an OCI image says about its processes; imported archives say nothing. */
export const imageDefaultsSchema = z.strictObject({
  user: z.string().nullable(),
  workdir: z.string().nullable(),
  env: z.record(z.string(), z.string()),
});
export type StoredDefaults = z.infer<typeof imageDefaultsSchema>;

/** `image.json` beside the root file system of one content; written once, never changed. */
export const contentSchema = z.strictObject({
  version: z.literal(1),
  digest: z.string().regex(/^sha256:[0-9a-f]{64}$/),
  size_bytes: z.int().min(0),
  /** Whose the files are: host ids as in the image, or all the worker's own. */
  owner: z.enum(["root", "self"]),
  defaults: imageDefaultsSchema,
});
export type Content = z.infer<typeof contentSchema>;

/** One name of an image. */
const nameSchema = z.strictObject({
  name: z.string().min(1),
  digest: z.string(),
  source: z.enum(["import", "registry"]),
  created_at_ms: z.int(),
  /** Last time a sandbox began or ceased to use it; null when none ever did. */
  last_used_at_ms: z.int().nullable(),
});
export type NamedImage = z.infer<typeof nameSchema>;

/** `index.json`: which names there are. */
export const indexSchema = z.strictObject({ version: z.literal(1), images: z.array(nameSchema) });

/** Defaults of an image that says nothing. */
export const NO_DEFAULTS: StoredDefaults = { user: null, workdir: null, env: {} };
