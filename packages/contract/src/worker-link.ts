import { z } from "zod";
import {
  CAPABILITY_NAMES,
  capabilitiesSchema,
  providerReportSchema,
  runtimeReportSchema,
  type Capabilities,
  type ProviderReport,
} from "./capability.ts";
import { PROCESS_KINDS } from "./exec-log.ts";
import { SANDBOX_ID_PATTERN } from "./id.ts";
import { amountsSchema, CONTROL_LOSS_POLICIES, workerLabelsSchema } from "./worker.ts";
import { WORKER_ADDRESSES } from "./worker-address.ts";

/** Token of the `Upgrade` header by which a connection becomes a link between a worker and a control plane. */
export const LINK_UPGRADE = "caisson-link";

/** Path of the link on whichever side is dialled; the worker's id is in its credential. */
export const LINK_PATH = "/api/v1/link";

/** Headers, beside `Authorization`, by which the two ends of a link show who they are. */
export const LINK_HEADERS = {
  /** Id of the worker, whoever dialled. */
  workerId: "x-worker-id",
  /** Proof over the other side's nonce. */
  proof: "x-worker-proof",
  /** A nonce: with a 401, the one to prove in the next attempt; with a control plane's request, the one to prove in the `101`. */
  nonce: "x-link-nonce",
  /** JSON Web Token of a registered worker that was dialled, with its `101`. */
  token: "x-worker-token",
  /** Id of the control plane's present run, on whichever side it is: a worker keeps one link to each. */
  controlPlane: "x-control-plane",
} as const;

/*
 * Messages of `control.*`. A receiver takes fields of later versions without a word: nothing here is a limit or a promise to
 * enforce. Parameters of `worker.*` are the opposite: what is unknown there is refused, and a sender first looks at the
 * features of the other side's hello.
 */

/** Capabilities from another version: one that it does not know it does not have, and one that we do not know is left out. */
const wireCapabilities = z
  .record(z.string().max(64), z.unknown())
  .transform((said): Capabilities => Object.fromEntries(CAPABILITY_NAMES.map((name) => [name, said[name] === true])) as Capabilities)
  .pipe(capabilitiesSchema);

/** What a probe found, as another version tells it. */
export const wireProviderReportSchema: z.ZodType<ProviderReport> = z.object({
  ...providerReportSchema.shape,
  name: z.string().max(64),
  reason: z.string().max(4096).optional(),
  remedy: z.string().max(4096).optional(),
  capabilities: wireCapabilities,
  limits: z
    .record(z.string().max(64), z.string().max(4096))
    .transform((said) => Object.fromEntries(Object.entries(said).filter(([name]) => CAPABILITY_NAMES.some((known) => known === name))))
    .pipe(providerReportSchema.shape.limits.unwrap())
    .optional(),
  runtimes: z
    .array(z.object({ ...runtimeReportSchema.shape, name: z.string().max(64), capabilities: wireCapabilities.optional() }))
    .max(32),
});

/** An address that is shown, given out or dialled; what is none of its kind counts as not told. */
function toldAddress(pattern: RegExp, longest: number) {
  return z
    .string()
    .max(longest)
    .nullable()
    .transform((said) => (said !== null && pattern.test(said) && (!said.includes("://") || URL.canParse(said)) ? said : null));
}

/** Parameters of `control.heartbeat`: about a thousand bytes, however many sandboxes there are. */
export const heartbeatSchema = z.object({
  /** Random id of this run of the worker's process. */
  session: z.string().min(1).max(64),
  /** Grows by one with every heartbeat of a session; one that is not higher than the last is dropped. */
  sequence: z.int().min(0),
  version: z.string().max(64),
  /** Wall-clock time of the worker in ms: shown when it is off, used for nothing. */
  now: z.number(),
  draining: z.boolean(),
  labels: workerLabelsSchema,
  capacity: amountsSchema,
  used: amountsSchema,
  /** Digest of `providers`; they are sent when the other side does not know this digest, or asks. */
  providers_digest: z.string().max(64),
  providers: z.array(wireProviderReportSchema).max(32).optional(),
  /** Names of images that are there, so that a sandbox can go where its image is. At most 256. */
  images: z.array(z.string().max(512)).max(256),
  preview_domain: toldAddress(WORKER_ADDRESSES.domain, 253),
  preview_url: toldAddress(WORKER_ADDRESSES.httpUrl, 512),
  public_url: toldAddress(WORKER_ADDRESSES.httpUrl, 512),
  /** Why the worker does not find itself at `public_url`, from where it is; null or absent when it does, or has not looked. */
  public_url_problem: z.string().max(512).nullable().optional(),
  advertise_addr: toldAddress(WORKER_ADDRESSES.dial, 512),
  on_control_loss: z.enum(CONTROL_LOSS_POLICIES),
});
export type Heartbeat = z.infer<typeof heartbeatSchema>;

/** Most control planes that a reply to a heartbeat names: a worker takes no reply that has more. */
export const MOST_CONTROL_PLANES = 64;

/** Reply to `control.heartbeat`. */
export const heartbeatReplySchema = z.object({
  /** For how long from its receipt the worker's leases are good, in ms: it starts nothing new after that. */
  lease_ms: z.int().min(1),
  /** The other side wants `providers` with the next heartbeat. */
  send_providers: z.boolean(),
  /** An admin drains the worker. */
  drain: z.boolean(),
  /** Addresses of all live control planes: the worker keeps a link to each. */
  control_planes: z.array(z.object({ id: z.string().max(64), url: z.string().max(512) })).max(MOST_CONTROL_PLANES),
  /** Public keys (JWK set) that sign tokens for clients that come to the worker directly. */
  keys: z.object({ keys: z.array(z.record(z.string(), z.unknown())).max(16) }),
  /** Wall-clock time of the control planes in ms: where tokens end the worker goes by it, for its own clock may be wrong. */
  now: z.number().optional(),
});
export type HeartbeatReply = z.infer<typeof heartbeatReplySchema>;

/** Reply to `control.challenge`. */
export const challengeReplySchema = z.object({
  /** What the next `control.renew` proves: good for a minute, once. */
  nonce: z.string().min(1).max(256),
});
export type ChallengeReply = z.infer<typeof challengeReplySchema>;

/** Parameters of `control.renew`: what is shown when a link is opened, over a link that is up. */
export const renewalSchema = z.object({
  /** JSON Web Token of the link's worker, issued after the one that the link has. */
  token: z.string().max(4096),
  /** Proof over the nonce that it holds the token's key. */
  proof: z.string().max(4096),
});
export type Renewal = z.infer<typeof renewalSchema>;

const refFields = { sandbox_id: z.string().regex(SANDBOX_ID_PATTERN), epoch: z.int().min(0) };

/** Parameters of `control.report`: something happened to a sandbox, ask about it soon. No promise that it is ever sent. */
export const reportSchema = z.object({ ...refFields });
export type Report = z.infer<typeof reportSchema>;

/** A process that a client started on the worker itself. */
export const toldProcessSchema = z.object({
  process_id: z.int().min(1),
  kind: z.enum(PROCESS_KINDS),
  request_id: z.string().max(128).nullable(),
});
export type ToldProcess = z.infer<typeof toldProcessSchema>;

/** Parameters of `control.processes`: processes of a sandbox were started past the control plane, ask its agent. */
export const processesChangedSchema = z.object({
  ...refFields,
  /** Name of the key of who started them. */
  key_name: z.string().max(128).nullable(),
  /** Which ones; without it, all that the exec log lacks. */
  processes: z.array(toldProcessSchema).max(256).optional(),
});
export type ProcessesChanged = z.infer<typeof processesChangedSchema>;

/** Parameters and reply of `control.port_access`. */
export const portAccessSchema = z.object({ ...refFields, port: z.int().min(1).max(65_535) });
export type PortAccess = z.infer<typeof portAccessSchema>;
export const portAccessReplySchema = z.object({ access: z.enum(["public", "private", "ended"]) });
export type PortAccessReply = z.infer<typeof portAccessReplySchema>;
