import { z } from "zod";
import { cursorSchema, envSchema, guestUserSchema, metadataSchema, positiveDurationSchema, guestPathSchema } from "./field.ts";
import { SANDBOX_ID_PATTERN } from "./id.ts";
import { SANDBOX_STATES } from "./sandbox-state.ts";
import { placementSchema, tenantIdSchema, workerIdSchema, workerLabelsSchema } from "./worker.ts";

export const sandboxIdSchema = z
  .string()
  .regex(SANDBOX_ID_PATTERN, { error: "is not a sandbox id" })
  .meta({ description: "Id of a sandbox", examples: ["sb1hfqv8k3m00a1b2c3d4e5"] });

/** Limits of a sandbox. */
const resourceFields = {
  memory_mb: z.int().min(16).max(4_194_304).meta({ description: "Memory limit in MiB; the whole process tree is held to it" }),
  vcpus: z.number().min(0.01).max(1024).meta({ description: "CPU limit in cores" }),
  pids: z.int().min(8).max(4_194_304).meta({ description: "Most processes and threads at once" }),
  disk_mb: z.int().min(16).max(1_073_741_824).meta({ description: "Most MiB the sandbox may write to its own disk" }),
};

/** Body of `POST /sandboxes`. */
export const createSandboxSchema = z
  .strictObject({
    image: z
      .string()
      .min(1)
      .max(512)
      .optional()
      .meta({ description: "Image name, digest or OCI reference. Default: `defaults.image`", examples: ["host"] }),
    provider: z
      .string()
      .min(1)
      .max(64)
      .optional()
      .meta({ description: "Provider name. Default: `providers.default`", examples: ["oci"] }),
    runtime: z
      .string()
      .min(1)
      .max(64)
      .optional()
      .meta({ description: "Runtime of the provider, such as `crun`, `runc` or `runsc`. Default: the best that works here" }),
    memory_mb: resourceFields.memory_mb.optional(),
    vcpus: resourceFields.vcpus.optional(),
    pids: resourceFields.pids.optional(),
    disk_mb: resourceFields.disk_mb.optional(),
    ttl: positiveDurationSchema
      .optional()
      .meta({ description: "Time to live. Default: `defaults.ttl`; at most `defaults.max_ttl`", examples: ["30m"] }),
    env: envSchema.optional().meta({ description: "Environment of every process in the sandbox" }),
    metadata: metadataSchema.optional(),
    network: z
      .string()
      .max(64)
      .optional()
      .meta({ description: "Network policy. Only `none` now: loopback only", examples: ["none"] }),
    user: guestUserSchema.optional(),
    workdir: guestPathSchema.optional().meta({ description: "Default working directory. Default: the image's" }),
    owner_id: z.string().min(1).max(128).optional().meta({ description: "Whose sandbox it is; a label, not an access check" }),
    tenant_id: tenantIdSchema
      .optional()
      .meta({ description: "Tenant it belongs to; workers kept for another tenant do not take it. A label, not an access check" }),
    worker_id: workerIdSchema.optional().meta({ description: "Only this worker may take it. Default: the best one" }),
    worker_labels: workerLabelsSchema.optional().meta({ description: "Only workers with all these labels may take it" }),
  })
  .meta({ id: "CreateSandbox" });
export type CreateSandbox = z.infer<typeof createSandboxSchema>;

/** A sandbox as the API shows it. */
export const sandboxSchema = z
  .strictObject({
    id: sandboxIdSchema,
    state: z.enum(SANDBOX_STATES).meta({ id: "SandboxState" }),
    reason: z
      .strictObject({ code: z.string(), message: z.string() })
      .nullable()
      .meta({ description: "Why it is in this state, where there is something to say" }),
    image: z.string(),
    image_digest: z.string().nullable(),
    provider: z.string(),
    runtime: z.string().nullable(),
    memory_mb: resourceFields.memory_mb.nullable(),
    vcpus: resourceFields.vcpus.nullable(),
    pids: resourceFields.pids.nullable(),
    disk_mb: resourceFields.disk_mb.nullable(),
    network: z.literal("none"),
    owner_id: z.string().nullable(),
    tenant_id: z.string().nullable(),
    worker_id: z.string().meta({ description: "The worker it lives on" }),
    placement: placementSchema.nullable().meta({ description: "Why it is on this worker" }),
    preview_domain: z.string().nullable(),
    metadata: metadataSchema,
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
    expires_at: z.iso.datetime(),
    ended_at: z.iso.datetime().nullable(),
  })
  .meta({ id: "Sandbox" });
export type Sandbox = z.infer<typeof sandboxSchema>;

/** Query of `GET /sandboxes`. */
export const listSandboxesQuerySchema = z.strictObject({
  state: z
    .string()
    .max(256)
    .optional()
    .meta({
      description: "States, comma separated. Default: all that have not ended; `all` for every one",
      examples: ["running,unhealthy"],
    }),
  metadata: z
    .union([z.string().max(1200), z.array(z.string().max(1200)).max(16)])
    .optional()
    .meta({ description: "`key=value`; may be repeated: all must match", examples: ["team=a"] }),
  worker_id: workerIdSchema.optional().meta({ description: "Only those of this worker" }),
  limit: z.coerce.number().int().min(1).max(1000).optional().meta({ description: "Page size, default 100" }),
  cursor: cursorSchema.optional(),
});
export type ListSandboxesQuery = z.infer<typeof listSandboxesQuerySchema>;

export const sandboxPageSchema = z
  .strictObject({ items: z.array(sandboxSchema), next_cursor: z.string().nullable() })
  .meta({ id: "SandboxPage" });
export type SandboxPage = z.infer<typeof sandboxPageSchema>;

/** Body of `POST /sandboxes/{id}/extend`. */
export const extendSandboxSchema = z
  .strictObject({ ttl: positiveDurationSchema.meta({ description: "New time to live, from now", examples: ["30m"] }) })
  .meta({ id: "ExtendSandbox" });
export type ExtendSandbox = z.infer<typeof extendSandboxSchema>;
