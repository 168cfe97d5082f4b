import { z } from "zod";

/** What an OCI image says about its processes; imported archives say nothing. */
export interface StoredDefaults {
  readonly user: string | null;
  readonly workdir: string | null;
  readonly env: Readonly<Record<string, string>>;
}

/** `image.json` beside the root file system of one content; written once, never changed. */
export interface Content {
  readonly version: 1;
  readonly digest: string;
  readonly size_bytes: number;
  /** Whose the files are: host ids as in the image, or all the worker's own. */
  readonly owner: "root" | "self";
  readonly defaults: StoredDefaults;
}

/** One name of an image. */
export interface NamedImage {
  readonly name: string;
  readonly digest: string;
  readonly source: "import" | "registry";
  readonly created_at_ms: number;
  /** Last time a sandbox began or ceased to use it; null when none ever did. */
  readonly last_used_at_ms: number | null;
}

export const contentSchema: z.ZodType<Content> = z.strictObject({
  version: z.literal(1),
  digest: z.string().regex(/^sha256:[0-9a-f]{64}$/),
  size_bytes: z.int().min(0),
  owner: z.enum(["root", "self"]),
  defaults: z.strictObject({
    user: z.string().nullable(),
    workdir: z.string().nullable(),
    env: z.record(z.string(), z.string()),
  }),
});

/** `index.json`: which names there are. */
export const indexSchema: z.ZodType<{ readonly version: 1; readonly images: readonly NamedImage[] }> = z.strictObject({
  version: z.literal(1),
  images: z.array(
    z.strictObject({
      name: z.string().min(1),
      digest: z.string(),
      source: z.enum(["import", "registry"]),
      created_at_ms: z.int(),
      last_used_at_ms: z.int().nullable(),
    }),
  ),
});

/** Defaults of an image that says nothing. */
export const NO_DEFAULTS: StoredDefaults = { user: null, workdir: null, env: {} };
