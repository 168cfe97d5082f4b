import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { CaissonError, envSchema, guestPathSchema, guestUserSchema } from "@caisson/contract";
import { z } from "zod";
import type { StoredDefaults } from "./image-record.ts";

/** Manifests and configurations of images are far smaller. */
const MAX_BLOB = 4 * 1024 * 1024;

const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/);
// What comes from a registry may hold more than we know; only what is used is checked.
const indexSchema = z.object({ manifests: z.array(z.object({ digest })).length(1) });
const manifestSchema = z.object({ config: z.object({ digest }) });
const configSchema = z.object({
  config: z
    .object({
      User: z.string().nullish(),
      WorkingDir: z.string().nullish(),
      Env: z.array(z.string()).nullish(),
    })
    .nullish(),
});

/** What an image layout with one image in it says: the digest of its manifest, and defaults for its processes. */
export async function readLayout(layout: string, name: string): Promise<{ readonly digest: string; readonly defaults: StoredDefaults }> {
  try {
    const manifest = indexSchema.parse(parse(await readBounded(join(layout, "index.json")))).manifests[0]?.digest ?? "";
    const { config } = manifestSchema.parse(parse(await readBlob(layout, manifest)));
    const { config: said } = configSchema.parse(parse(await readBlob(layout, config.digest)));
    return {
      digest: manifest,
      defaults: {
        user: userOf(said?.User ?? ""),
        workdir: guestPathSchema.safeParse(said?.WorkingDir ?? "").data ?? null,
        env: envOf(said?.Env ?? []),
      },
    };
  } catch (error) {
    if (error instanceof z.ZodError || error instanceof SyntaxError || error instanceof RangeError)
      throw new CaissonError("image_not_found", `The registry's answer for ${name} is not a valid image.`, { cause: error });
    throw error;
  }
}

/** `user` or `uid` or `uid:gid`; of `user:group` the user, whose own group then counts. Root says nothing. */
function userOf(text: string): string | null {
  const user = guestUserSchema.safeParse(text).success ? text : (text.split(":")[0] ?? "");
  return guestUserSchema.safeParse(user).success ? user : "root";
}

function envOf(list: readonly string[]): Record<string, string> {
  const env: Record<string, string> = {};
  for (const line of list) {
    const equals = line.indexOf("=");
    if (equals > 0) env[line.slice(0, equals)] = line.slice(equals + 1);
  }
  return envSchema.parse(env);
}

async function readBlob(layout: string, wanted: string): Promise<Buffer> {
  const bytes = await readBounded(join(layout, "blobs", "sha256", wanted.slice("sha256:".length)));
  if (`sha256:${createHash("sha256").update(bytes).digest("hex")}` !== wanted) throw new RangeError("blob and digest differ");
  return bytes;
}

async function readBounded(path: string): Promise<Buffer> {
  const file = await open(path, "r");
  try {
    const { size } = await file.stat();
    if (size > MAX_BLOB) throw new RangeError("blob too large");
    return await file.readFile();
  } finally {
    await file.close();
  }
}

function parse(bytes: Buffer): unknown {
  return JSON.parse(bytes.toString("utf8")) as unknown;
}
