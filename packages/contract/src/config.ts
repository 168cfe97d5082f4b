import { z } from "zod";
import { positiveDurationSchema, durationSchema } from "./field.ts";
import { CONTROL_LOSS_POLICIES, workerIdSchema, workerLabelsSchema } from "./worker.ts";
import { WORKER_ADDRESSES } from "./worker-address.ts";

/** Providers this build has. */
export const PROVIDER_NAMES = ["oci", "bubblewrap", "mock"] as const;
export type ProviderName = (typeof PROVIDER_NAMES)[number];

/** Providers of the design that this build lacks: a configuration may name them only to switch them off. */
const ABSENT_PROVIDERS = ["docker", "podman", "firecracker", "qemu", "proot", "custom", "kubernetes"] as const;

const absent = z
  .strictObject({ enabled: z.literal(false, { error: "this build has no such provider; only `enabled: false` is accepted" }) })
  .optional()
  .meta({ description: "Not in this build; may only be switched off" });

const domain = z.string().regex(WORKER_ADDRESSES.domain, {
  error: "must be a domain in lower case, such as preview.example.org",
});

/** `host:port`, an IPv6 address in brackets. */
const address = z.string().regex(/^(?:\[[0-9a-fA-F:.]+\]|[^\s:/[\]]+):\d{1,5}$/, { error: "must be host:port, such as 0.0.0.0:7430" });

/** The same, perhaps behind `http://` or `https://`. */
const dialAddress = z.string().regex(WORKER_ADDRESSES.dial, {
  error: "must be host:port, such as worker-a.example.org:7430, perhaps with http:// or https:// before it",
});

const httpUrl = z
  .string()
  .regex(WORKER_ADDRESSES.httpUrl, { error: "must be http or https, a host and perhaps a port, such as https://caisson.example.org" });

const apiKey = z.string().min(16, { error: "must have at least 16 characters" }).max(512);

/** Where a worker looks for a control plane that was told of none. */
export const DEFAULT_CONTROL_PLANE_URL = "http://127.0.0.1:7423";

/** The configuration, section by section. Every key has a default; unknown keys are refused. */
export const configSchema = z
  .strictObject({
    server: z
      .strictObject({
        host: z.string().min(1).default("127.0.0.1").meta({ description: "Address to listen on" }),
        port: z.int().min(0).max(65535).default(7423).meta({ description: "Port to listen on; 0 for any free one" }),
        preview_domain: domain
          .default("localhost")
          .meta({ description: "Domain below which ports of sandboxes are shown, as `<port>-<sandbox>.<preview_domain>`" }),
        preview_url: z.string().optional().meta({
          description:
            "Scheme, `preview_domain` and port with which browsers reach previews, such as `https://preview.example.org`. Default: the scheme and port that the server listens on",
        }),
        advertise_url: httpUrl.optional().meta({
          description:
            "Where workers and other control planes reach this one. Default: the address it listens on, where that is one of this machine only",
        }),
        local_worker: z.enum(["auto", "on", "off"]).default("auto").meta({
          description: "Whether this server runs sandboxes itself, as the worker `local`. `auto`: with SQLite yes, with PostgreSQL no",
        }),
        tls: z
          .strictObject({
            cert_file: z
              .string()
              .min(1)
              .optional()
              .meta({ description: "Certificate chain, PEM. With it the server speaks HTTPS only; looked at again every minute" }),
            key_file: z.string().min(1).optional().meta({ description: "Its private key, PEM; needed with `cert_file`" }),
          })
          .prefault({}),
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
        driver: z
          .enum(["sqlite", "postgres"])
          .default("sqlite")
          .meta({ description: "Database kind; several control planes share one `postgres`" }),
        path: z.string().min(1).optional().meta({ description: "Database file of `sqlite`. Default: `caisson.db` in `data_dir`" }),
        dsn: z.string().min(1).optional().meta({
          description: "Address of `postgres`, such as `postgres://user:password@host:5432/caisson`; several hosts are separated by commas",
        }),
        dsn_file: z.string().min(1).optional().meta({ description: "File that holds the address instead" }),
        max_connections: z.int().min(2).max(1000).default(20).meta({ description: "Most connections to `postgres`" }),
      })
      .prefault({}),
    auth: z
      .strictObject({
        api_key: apiKey
          .optional()
          .meta({ description: "API key. Default: made at the first start and stored with mode 0600 in `data_dir`" }),
        admin_api_key: apiKey.optional().meta({ description: "Admin key. Default: as above" }),
        worker_token: apiKey.optional().meta({
          description:
            "A token that any worker may show, for staging; off unless it is set. On a worker: the token it shows, where it did not join with `caisson worker join`",
        }),
        worker_token_file: z.string().min(1).optional().meta({ description: "File that holds it instead; read anew for every connection" }),
        worker_tokens: z
          .record(workerIdSchema, apiKey)
          .default({})
          .meta({ description: "A token for each worker by its id; the shared one is then refused for it" }),
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
    worker: z
      .strictObject({
        id: workerIdSchema.optional().meta({ description: "Id of this worker. Default: the one it joined with, else the machine's name" }),
        control_plane_url: httpUrl.default(DEFAULT_CONTROL_PLANE_URL).meta({
          description:
            "A control plane to begin with; the others are learnt from it and remembered. A worker that joined begins with the one it joined at, unless this names another than the default",
        }),
        ca_file: z.string().min(1).optional().meta({
          description: "Certificates to trust for `https` control planes, PEM. Default: the machine's, and the installation's own",
        }),
        listen_addr: address
          .optional()
          .meta({ description: "Address to listen on, so that control planes and clients can dial. Default: none" }),
        advertise_addr: dialAddress.optional().meta({
          description:
            "Where control planes dial instead; without `http://` or `https://` before it, as the worker itself speaks. Default: `listen_addr`, unless that is all addresses",
        }),
        tls: z
          .strictObject({
            cert_file: z.string().min(1).optional().meta({
              description: "Certificate chain of `listen_addr`, PEM. With it the worker speaks HTTPS only; looked at again every minute",
            }),
            key_file: z.string().min(1).optional().meta({ description: "Its private key, PEM; needed with `cert_file`" }),
            own_certificate: z.boolean().default(false).meta({
              description:
                "HTTPS with the certificate that this worker got when it joined: servers know it by the worker's id, whatever its address; browsers do not. Instead of `cert_file`",
            }),
          })
          .prefault({}),
        preview_domain: domain
          .optional()
          .meta({ description: "Domain below which this worker itself shows ports of its sandboxes. Default: none" }),
        preview_url: httpUrl.optional().meta({
          description: "Scheme, `preview_domain` and port with which browsers reach them. Default: `http` and the port of `listen_addr`",
        }),
        public_url: httpUrl
          .optional()
          .meta({ description: "Where clients may reach this worker directly for data. Default: through a control plane" }),
        heartbeat_interval: positiveDurationSchema.default("10s").meta({ description: "Time between heartbeats; at most 30s" }),
        on_control_loss: z.enum(CONTROL_LOSS_POLICIES).default("run").meta({
          description:
            "What to do with sandboxes while no control plane can be reached: `run` leaves them, `pause` freezes them until one is back. A credential that is refused for good always pauses where `pause` is set",
        }),
        shutdown_timeout: positiveDurationSchema
          .default("30s")
          .meta({ description: "Time that work under way gets when the worker shuts down" }),
        labels: workerLabelsSchema.default({}),
        capacity: z
          .strictObject({
            vcpus: z.number().min(0.1).optional().meta({ description: "Cores for sandboxes. Default: all" }),
            memory_mb: z
              .int()
              .min(16)
              .optional()
              .meta({ description: "MiB of memory for sandboxes. Default: all but 512, or half of a small machine" }),
            disk_mb: z
              .int()
              .min(16)
              .optional()
              .meta({ description: "MiB of disk for sandboxes. Default: what is free while there are none" }),
            sandboxes: z.int().min(0).default(0).meta({ description: "Most sandboxes; 0 for no bound" }),
          })
          .prefault({}),
      })
      .prefault({}),
    workers: z
      .strictObject({
        ca_file: z.string().min(1).optional().meta({
          description:
            "Certificates to trust for workers that are dialled over `https`, and for other control planes, PEM. Default: the machine's; for workers also the installation's own",
        }),
        late_after: positiveDurationSchema
          .default("30s")
          .meta({ description: "Silence after which a worker is late, and its sandboxes are `unhealthy`" }),
        unreachable_after: positiveDurationSchema
          .default("90s")
          .meta({ description: "Silence after which a worker is unreachable, and its sandboxes are `missing`" }),
        token_ttl: positiveDurationSchema.default("168h").meta({
          description: "How long a token of a worker that joined is good; it is renewed at half of that, and when it is refused",
        }),
      })
      .prefault({}),
    placement: z
      .strictObject({
        strategy: z
          .enum(["spread", "pack", "round_robin"])
          .default("spread")
          .meta({ description: "Which of the workers that fit gets a sandbox: the emptiest, the fullest, or each in turn" }),
        prefer_local: z.boolean().default(false).meta({ description: "Whether the worker inside the server comes first" }),
        overcommit_vcpus: z.number().min(0.1).max(100).default(4).meta({ description: "How often a core may be promised" }),
        overcommit_memory: z.number().min(0.1).max(100).default(1.5).meta({ description: "How often a MiB of memory may be promised" }),
        overcommit_disk: z.number().min(0.1).max(100).default(1).meta({ description: "How often a MiB of disk may be promised" }),
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
