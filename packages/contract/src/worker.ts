import { z } from "zod";
import { providerReportSchema } from "./capability.ts";
import { cursorSchema, positiveDurationSchema } from "./field.ts";
import { SCOPES } from "./guest-methods.ts";
import { WORKER_STATES } from "./worker-state.ts";

/** Id of the worker inside a server that keeps its own database. */
export const LOCAL_WORKER_ID = "local";
/** What a worker id looks like: it appears in certificates, paths and logs. */
export const WORKER_ID_PATTERN: RegExp = /^(?=.{1,63}$)[a-z0-9]([a-z0-9._-]*[a-z0-9])?$/;

export const workerIdSchema = z
  .string()
  .regex(WORKER_ID_PATTERN, { error: "must be 1 to 63 lower-case letters, digits, dots, dashes or underscores" })
  .meta({ description: "Id of a worker", examples: ["worker-a"] });

/** Labels of a worker; requests choose by them with `worker_labels`. */
export const workerLabelsSchema = z
  .record(z.string().min(1).max(63), z.string().max(63))
  .refine((map) => Object.keys(map).length <= 32, { error: "has more than 32 entries" })
  .meta({ description: "Labels of a worker, at most 32" });

/** Whose sandboxes a worker takes alone. */
export const tenantIdSchema = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/, { error: "must be letters, digits, dots, dashes or underscores" })
  .meta({ description: "A tenant", examples: ["team-a"] });

/** Amounts of what a machine has, is asked for, or uses. */
export const amountsSchema = z
  .strictObject({
    vcpus: z.number().min(0).meta({ description: "Cores" }),
    memory_mb: z.int().min(0).meta({ description: "MiB of memory" }),
    disk_mb: z.int().min(0).meta({ description: "MiB of disk" }),
    sandboxes: z.int().min(0).meta({ description: "Sandboxes; as a capacity 0 is no bound" }),
  })
  .meta({ id: "Amounts" });
export type Amounts = z.infer<typeof amountsSchema>;

/** How a worker shows who it is. */
export const WORKER_CREDENTIALS = ["local", "shared", "static", "certificate"] as const;
export type WorkerCredential = (typeof WORKER_CREDENTIALS)[number];

/** What a worker does with its sandboxes while no control plane can be reached, or its credential is refused. */
export const CONTROL_LOSS_POLICIES = ["run", "pause"] as const;
export type ControlLossPolicy = (typeof CONTROL_LOSS_POLICIES)[number];

/** A worker as the API shows it. */
export const workerSchema = z
  .strictObject({
    id: workerIdSchema,
    state: z.enum(WORKER_STATES).meta({
      id: "WorkerState",
      description:
        "`pending`: added, not heard of yet. `draining`: keeps its sandboxes, takes no new ones. `unreachable`: silent for longer than `workers.unreachable_after`",
    }),
    late: z.boolean().meta({ description: "Its heartbeat is overdue (`workers.late_after`)" }),
    draining: z
      .enum(["no", "admin", "worker"])
      .meta({ description: "Who has it take no new sandboxes: an admin, or the worker itself because it shuts down" }),
    version: z.string().nullable().meta({ description: "Version of Caisson it runs; null until it was heard of" }),
    credential: z.enum(WORKER_CREDENTIALS).nullable().meta({ description: "How it showed who it is; null until it did" }),
    labels: workerLabelsSchema,
    tenant_id: tenantIdSchema.nullable().meta({ description: "The one tenant whose sandboxes it takes; null for all" }),
    providers: z.array(providerReportSchema).meta({ description: "What it can run sandboxes with; empty until it was heard of" }),
    capacity: amountsSchema.meta({ description: "What its machine has for sandboxes, before overcommitment" }),
    reserved: amountsSchema.meta({ description: "What its sandboxes were promised" }),
    used: amountsSchema.nullable().meta({ description: "What was in use on its machine at the last heartbeat" }),
    preview_domain: z
      .string()
      .nullable()
      .meta({ description: "Domain below which it shows ports of its sandboxes itself; null where servers do" }),
    public_url: z.string().nullable().meta({ description: "Where clients may reach it directly for data; null where they may not" }),
    public_url_problem: z.string().nullable().meta({
      description:
        "Why the worker did not find itself at `public_url` when it last looked, as this server heard it; null where nothing is known to be wrong. Clients may reach it all the same: many networks do not let a machine reach its own public address",
    }),
    advertise_addr: z.string().nullable().meta({ description: "Where control planes may dial it; null where it dials them" }),
    on_control_loss: z
      .enum(CONTROL_LOSS_POLICIES)
      .meta({ description: "What it does with its sandboxes while it reaches no control plane: lets them run, or freezes them" }),
    last_heartbeat_at: z.iso.datetime().nullable().meta({ description: "When it was last heard; null before the first time" }),
    created_at: z.iso.datetime().meta({ description: "When it was added" }),
    updated_at: z.iso.datetime().meta({ description: "When any of this last changed" }),
  })
  .meta({ id: "Worker", description: "A worker, and what its machine can do" });
export type Worker = z.infer<typeof workerSchema>;

/** Query of `GET /workers`. */
export const listWorkersQuerySchema = z.strictObject({
  state: z
    .string()
    .max(128)
    .optional()
    .meta({ description: "States, comma separated. Default: all but `removed`", examples: ["online,draining"] }),
  limit: z.coerce.number().int().min(1).max(1000).optional().meta({ description: "Page size, default 100" }),
  cursor: cursorSchema.optional(),
});
export type ListWorkersQuery = z.infer<typeof listWorkersQuerySchema>;

export const workerPageSchema = z
  .strictObject({ items: z.array(workerSchema), next_cursor: z.string().nullable() })
  .meta({ id: "WorkerPage" });
export type WorkerPage = z.infer<typeof workerPageSchema>;

/** Body of `POST /workers`. */
export const addWorkerSchema = z
  .strictObject({
    id: workerIdSchema
      .optional()
      .meta({ description: "Its id. Default: the worker names itself when it registers, after its machine unless told otherwise" }),
    tenant_id: tenantIdSchema.optional().meta({ description: "Takes only sandboxes of this tenant. Default: of all" }),
    token_ttl: positiveDurationSchema.optional().meta({ description: "How long the token can be used. Default 1h, at most 24h" }),
  })
  .meta({ id: "AddWorker" });
export type AddWorker = z.infer<typeof addWorkerSchema>;

/** Answer to `POST /workers`. The token is shown this once. */
export const workerInvitationSchema = z
  .strictObject({
    worker_id: workerIdSchema.nullable().meta({ description: "The id it will have; null when it names itself" }),
    token: z.string().meta({ description: "Registers one worker, once: `caisson worker join URL --token-file -` asks for it" }),
    expires_at: z.iso.datetime().meta({ description: "When the token is over" }),
  })
  .meta({ id: "WorkerInvitation" });
export type WorkerInvitation = z.infer<typeof workerInvitationSchema>;

/** Body of `POST /workers/register`, with the one-time token. */
export const registerWorkerSchema = z
  .strictObject({
    token: z.string().min(16).max(256).meta({ description: "The one-time token of the invitation" }),
    worker_id: workerIdSchema.optional().meta({ description: "The id it wants, where the invitation named none" }),
    csr: z.string().min(64).max(8192).meta({ description: "PKCS #10 signing request, PEM, of a key pair that never leaves the worker" }),
  })
  .meta({ id: "RegisterWorker" });
export type RegisterWorker = z.infer<typeof registerWorkerSchema>;

/** Body of `POST /workers/refresh`. */
export const refreshWorkerSchema = z
  .strictObject({
    refresh_token: z.string().min(16).max(256),
    csr: z.string().min(64).max(8192).meta({ description: "Signing request of the key pair it registered with, PEM" }),
  })
  .meta({ id: "RefreshWorker" });
export type RefreshWorker = z.infer<typeof refreshWorkerSchema>;

/** What a registered worker holds. */
export const workerCredentialsSchema = z
  .strictObject({
    worker_id: workerIdSchema,
    token: z.string().meta({ description: "JSON Web Token (EdDSA, 7 days), bound to the worker id and the certificate's key" }),
    token_expires_at: z.iso.datetime().meta({ description: "When the token ends" }),
    refresh_token: z.string().meta({ description: "Gets the next token, certificate and refresh token; 60 days, used once" }),
    refresh_expires_at: z.iso.datetime().meta({ description: "When the refresh token ends: from then on it must join again" }),
    certificate: z.string().meta({ description: "Client certificate, PEM" }),
    certificate_expires_at: z.iso.datetime().meta({ description: "When the certificate ends" }),
    ca_certificate: z.string().meta({ description: "Certificate of the installation's own authority, PEM" }),
    scopes: z.array(z.enum(SCOPES)).meta({ description: "What links by these credentials may carry" }),
    issuer: z.string().meta({ description: "The installation, as its tokens name it" }),
    keys: z
      .object({ keys: z.array(z.record(z.string(), z.unknown())) })
      .meta({ description: "Public keys (JWK set) of the installation's tokens, by which the worker knows control planes that dial it" }),
  })
  .meta({ id: "WorkerCredentials" });
export type WorkerCredentials = z.infer<typeof workerCredentialsSchema>;

/** Answer to `POST /workers/verify`. */
export const verifiedWorkerSchema = z
  .strictObject({
    worker_id: workerIdSchema,
    credential: z.enum(["shared", "static", "certificate"]).meta({ description: "What it showed" }),
    tenant_id: tenantIdSchema.nullable().meta({ description: "The one tenant whose sandboxes it takes; null for all" }),
    scopes: z.array(z.enum(SCOPES)).meta({ description: "What links by these credentials may carry" }),
    issued_at: z.iso.datetime().nullable().meta({ description: "When its token was issued; null for shared and static ones" }),
    expires_at: z.iso.datetime().nullable().meta({ description: "When its token ends; null for shared and static ones" }),
  })
  .meta({ id: "VerifiedWorker" });
export type VerifiedWorker = z.infer<typeof verifiedWorkerSchema>;

/** Body of `POST /workers/rotate-keys`. */
export const rotateKeysSchema = z
  .strictObject({
    immediately: z.boolean().optional().meta({
      description:
        "For a database that leaked: what was signed until now is refused, here at once and by every server within a minute, and workers renew what they hold. Default: a new key signs after an hour, and what the ones before signed runs out by itself",
    }),
  })
  .meta({ id: "RotateKeys" });
export type RotateKeys = z.infer<typeof rotateKeysSchema>;

/** Answer to `POST /workers/rotate-keys`. */
export const rotatedKeysSchema = z
  .strictObject({
    key_id: z.string().meta({ description: "Id of the newest key" }),
    signs_at: z.iso.datetime().meta({ description: "From when it signs" }),
    others_until: z.iso.datetime().meta({ description: "Until when what the other keys signed is good" }),
  })
  .meta({ id: "RotatedKeys" });
export type RotatedKeys = z.infer<typeof rotatedKeysSchema>;

/** Query of `DELETE /workers/{id}`. */
export const removeWorkerQuerySchema = z.strictObject({
  force: z
    .enum(["true", "false"])
    .optional()
    .meta({ description: "Destroys its sandboxes first; without it a worker that has some is kept (409 `worker_in_use`)" }),
});

/** Detail of the error `worker_in_use`. */
export const workerInUseDetailSchema = z
  .strictObject({
    worker_id: z.string(),
    sandbox_ids: z.array(z.string()).meta({ description: "At most 1000 of them" }),
    count: z.int().meta({ description: "How many there are" }),
  })
  .meta({ id: "WorkerInUseDetail" });

/** Why a sandbox is where it is. */
export const placementSchema = z
  .strictObject({
    worker_id: z.string(),
    strategy: z.enum(["spread", "pack", "round_robin", "only"]).meta({ description: "`only`: no other worker could take it" }),
    reason: z.string().meta({ description: "One sentence" }),
    score: z.number().nullable().meta({ description: "By which it was chosen of several, the highest; null where none was needed" }),
    refused: z
      .array(z.strictObject({ worker_id: z.string(), code: z.string(), reason: z.string() }))
      .meta({ description: "Workers that could not take it, or failed to start it, and why; at most 20" }),
  })
  .meta({ id: "Placement" });
export type Placement = z.infer<typeof placementSchema>;
