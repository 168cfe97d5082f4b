import { z } from "zod";

/** How strong the wall is. */
export const tierSchema = z
  .enum(["microvm", "container", "process", "none"])
  .meta({ id: "Tier", description: "How strong the wall is: `microvm`, `container`, `process`, or `none` (mock)" });
export type Tier = z.infer<typeof tierSchema>;

/** What a provider can really do on this machine, found by probing. */
export const capabilitiesSchema = z
  .strictObject({
    limit_memory: z.boolean().meta({ description: "`memory_mb` is enforced" }),
    limit_cpu: z.boolean().meta({ description: "`vcpus` is enforced" }),
    limit_pids: z.boolean().meta({ description: "`pids` is enforced" }),
    limit_disk: z.boolean().meta({ description: "`disk_mb` is enforced" }),
    users: z.boolean().meta({ description: "Commands may run as any user of the image, root included" }),
    images: z.boolean().meta({ description: "Imported and pulled images work; else only `host`" }),
    freeze: z.boolean().meta({ description: "All processes can be frozen and thawed in place" }),
    pty: z.boolean().meta({ description: "Terminals work" }),
    survives_restart: z.boolean().meta({ description: "Sandboxes live on when the worker restarts" }),
  })
  .meta({ id: "Capabilities" });
export type Capabilities = z.infer<typeof capabilitiesSchema>;
export type Capability = keyof Capabilities;
export const CAPABILITY_NAMES: readonly Capability[] = Object.keys(capabilitiesSchema.shape) as Capability[];

/** One runtime of a provider (crun, runc, runsc) and whether it works here. */
export const runtimeReportSchema = z
  .strictObject({
    name: z.string(),
    available: z.boolean(),
    version: z.string().optional(),
    reason: z.string().optional().meta({ description: "Why it does not work" }),
    remedy: z.string().optional().meta({ description: "How to mend it, with the exact command where there is one" }),
    capabilities: capabilitiesSchema.optional(),
  })
  .meta({ id: "RuntimeReport" });
export type RuntimeReport = z.infer<typeof runtimeReportSchema>;

/** What a probe found. */
export const providerReportSchema = z
  .strictObject({
    name: z.string(),
    tier: tierSchema,
    available: z.boolean(),
    default: z.boolean().optional().meta({ description: "Used when a request names no provider" }),
    reason: z.string().optional().meta({ description: "Why it does not work" }),
    remedy: z.string().optional().meta({ description: "How to mend it" }),
    capabilities: capabilitiesSchema,
    limits: z
      .partialRecord(z.enum(["limit_memory", "limit_cpu", "limit_pids", "limit_disk", "users", "images"]), z.string())
      .optional()
      .meta({ description: "Why a capability is missing, by capability" }),
    runtimes: z.array(runtimeReportSchema),
    probed_at: z.iso.datetime().optional(),
  })
  .meta({ id: "Provider" });
export type ProviderReport = z.infer<typeof providerReportSchema>;

/** No capability at all: what a provider that does not work here has. */
export const NO_CAPABILITIES: Capabilities = {
  limit_memory: false,
  limit_cpu: false,
  limit_pids: false,
  limit_disk: false,
  users: false,
  images: false,
  freeze: false,
  pty: false,
  survives_restart: false,
};
