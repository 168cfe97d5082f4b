import { z } from "zod";
import { positiveDurationSchema, durationSchema } from "./field.ts";

/** Providers this build has. */
export const PROVIDER_NAMES = ["oci", "bubblewrap", "mock"] as const;
export type ProviderName = (typeof PROVIDER_NAMES)[number];

/** Providers of the design that this build lacks: a configuration may name them only to switch them off. */
const ABSENT_PROVIDERS = ["docker", "podman", "firecracker", "qemu", "proot", "custom", "kubernetes"] as const;

const absent = z
  .strictObject({ enabled: z.literal(false, { error: "this build has no such provider; only `enabled: false` is accepted" }) })
  .optional()
  .meta({ description: "Not in this build; may only be switched off" });

const apiKey = z.string().min(16, { error: "must have at least 16 characters" }).max(512);

/** The configuration, section by section. Every key has a default; unknown keys are refused. */
export const configSchema = z
  .strictObject({
    server: z
      .strictObject({
        host: z.string().min(1).default("127.0.0.1").meta({ description: "Address to listen on" }),
        port: z.int().min(0).max(65535).default(7423).meta({ description: "Port to listen on; 0 for any free one" }),
        preview_domain: z
          .string()
          .regex(/^(?=.{1,200}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/, {
            error: "must be a domain in lower case, such as preview.example.org",
          })
          .default("localhost")
          .meta({ description: "Domain below which ports of sandboxes are shown, as `<port>-<sandbox>.<preview_domain>`" }),
        preview_url: z.string().optional().meta({
          description:
            "Scheme, `preview_domain` and port with which browsers reach previews, such as `https://preview.example.org`. Default: `http` and the port that the server listens on",
        }),
        cors_allowed_origins: z.array(z.string()).default([]).meta({ description: "Origins that browsers may call from; empty for none" }),
      })
      .prefault({}),
    data_dir: z
      .string()
      .min(1)
      .optional()
      .meta({ description: "Folder for everything kept. Default: `/var/lib/caisson` for root, else `~/.local/share/caisson`" }),
    database: z
      .strictObject({
        driver: z.enum(["sqlite"]).default("sqlite").meta({ description: "Database kind" }),
        path: z.string().min(1).optional().meta({ description: "Database file. Default: `caisson.db` in `data_dir`" }),
      })
      .prefault({}),
    auth: z
      .strictObject({
        api_key: apiKey
          .optional()
          .meta({ description: "API key. Default: made at the first start and stored with mode 0600 in `data_dir`" }),
        admin_api_key: apiKey.optional().meta({ description: "Admin key. Default: as above" }),
        admin_fallback_enabled: z.boolean().default(false).meta({ description: "Whether the API key may do what the admin key may" }),
      })
      .prefault({}),
    providers: z
      .strictObject({
        default: z
          .enum(["auto", ...PROVIDER_NAMES])
          .default("auto")
          .meta({ description: "Provider of requests that name none; `auto` takes the strongest that works here" }),
        oci: z
          .strictObject({
            enabled: z.boolean().default(true).meta({ description: "Whether to offer it" }),
            runtime: z
              .enum(["auto", "crun", "runc", "runsc"])
              .default("auto")
              .meta({ description: "Runtime of requests that name none; `auto` takes the first that works" }),
            crun_path: z.string().min(1).default("crun").meta({ description: "Program: a path, or a name to look up in PATH" }),
            runc_path: z.string().min(1).default("runc").meta({ description: "Program: a path, or a name to look up in PATH" }),
            runsc_path: z.string().min(1).default("runsc").meta({ description: "Program: a path, or a name to look up in PATH" }),
          })
          .prefault({}),
        bubblewrap: z
          .strictObject({
            enabled: z.boolean().default(true).meta({ description: "Whether to offer it" }),
            bwrap_path: z.string().min(1).default("bwrap").meta({ description: "Program: a path, or a name to look up in PATH" }),
          })
          .prefault({}),
        mock: z
          .strictObject({
            enabled: z.boolean().default(false).meta({ description: "Whether to offer it; it isolates nothing and runs nothing real" }),
          })
          .prefault({}),
        ...(Object.fromEntries(ABSENT_PROVIDERS.map((name) => [name, absent])) as Record<(typeof ABSENT_PROVIDERS)[number], typeof absent>),
      })
      .prefault({}),
    images: z
      .strictObject({
        insecure_registries: z.array(z.string()).default([]).meta({ description: "Registries (`host:port`) spoken to without TLS" }),
        keep_unused: durationSchema
          .default("168h")
          .meta({ description: "How long an image that no sandbox uses is kept after its last use; `0` removes it at once" }),
      })
      .prefault({}),
    defaults: z
      .strictObject({
        image: z.string().min(1).default("host").meta({ description: "Image of requests that name none" }),
        ttl: positiveDurationSchema.default("30m").meta({ description: "Time to live of requests that name none" }),
        max_ttl: positiveDurationSchema.default("24h").meta({ description: "Longest time to live" }),
        memory_mb: z
          .int()
          .min(16)
          .optional()
          .meta({ description: "Memory limit of requests that name none, where the provider can enforce it. Default: none" }),
        vcpus: z.number().min(0.01).optional().meta({ description: "CPU limit likewise. Default: none" }),
        pids: z.int().min(8).default(1024).meta({ description: "Process limit likewise" }),
        exec_timeout: durationSchema.default("0").meta({ description: "Timeout of commands that name none; `0` for none" }),
        max_exec_timeout: durationSchema
          .default("0")
          .meta({ description: "Longest timeout of a command; `0` for no bound. With a bound, commands that name none get it" }),
        max_sandboxes: z.int().min(0).default(0).meta({ description: "Most live sandboxes; 0 for no bound" }),
      })
      .prefault({}),
    webhooks: z
      .strictObject({
        retries: z.array(positiveDurationSchema).max(32).default(["5s", "5m", "30m", "2h", "5h", "10h", "14h", "20h", "24h"]).meta({
          description: "Times after which a message that was not taken is sent again, each a little earlier or later; then it has failed",
        }),
      })
      .prefault({}),
    retention: z
      .strictObject({
        webhook_deliveries: positiveDurationSchema.default("168h").meta({ description: "How long finished messages to webhooks are kept" }),
        sandboxes: positiveDurationSchema.default("168h").meta({ description: "How long sandboxes are shown after their end" }),
        events: positiveDurationSchema.default("168h").meta({ description: "How long events are kept" }),
        max_events: z.int().min(1).max(100_000_000).default(100_000).meta({ description: "Most events kept" }),
        exec_log: positiveDurationSchema
          .default("168h")
          .meta({ description: "How long processes are kept in the exec log after their end" }),
        max_exec_log: z
          .int()
          .min(1)
          .max(1_000_000)
          .default(10_000)
          .meta({ description: "Most processes kept for each sandbox, the newest" }),
      })
      .prefault({}),
    logging: z
      .strictObject({
        level: z.enum(["trace", "debug", "info", "warn", "error"]).default("info").meta({ description: "Least level written" }),
        format: z.enum(["auto", "json", "pretty"]).default("auto").meta({ description: "`auto`: pretty on a terminal, else JSON" }),
      })
      .prefault({}),
  })
  .meta({ id: "Config" });

/** The configuration with every default filled in. */
export type Config = z.infer<typeof configSchema>;
/** The configuration as a user writes it. */
export type ConfigInput = z.input<typeof configSchema>;
